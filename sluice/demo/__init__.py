"""The demonstration: a story that the project tells (`demo.story` of sluice.toml), played with real parts in a folder of its own.

Belongs here: the workspace, the load on the proxy, the order of the acts. What happens in an act is the engine's, the gate's, the
rollout's; nothing is staged.
"""
