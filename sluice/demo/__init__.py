"""The demonstration: it plays a project's story (`demo.story` in sluice.toml) in a copy of the project.

A story consists of acts. An act is a commit, a run of the release pipeline, and its result in production; or it is a rollback by
a person. All of it runs with the real engine, gate and rollout: nothing is simulated except the requests of the users.

What belongs here: the copy of the project, the requests to the proxy, and the order of the acts. What does not belong here: what
happens inside an act, which the engine, the gate and the rollout decide.
"""
