"""A release while it is served: loading and verifying it, answering requests, and asking it.

Belongs here: what a server runs (``scorer``, ``batching``, ``sources``, ``server_launcher``, ``recent_requests``), starting a
server as a process or as a Pod (``server_process``, ``release_pods``, ``probe``), and its clients (``client``). Does not belong
here: what a release is (``sluice.release``) and how much traffic it gets (``sluice.rollout``).

The serving environment imports this package without the tool's libraries: this module imports nothing, ``sources`` and
``server_launcher`` use the standard library alone, and ``scorer`` and ``batching`` add numpy, pandas and joblib.
"""
