"""Serving a release: loading and verifying it, answering requests, starting servers, and sending requests to them.

Belongs here: the code of a server (``scorer``, ``batching``, ``verified_imports``, ``server_launcher``, ``recent_requests``,
``faults``, ``time_limits``, ``resources``), starting a server as a process or as a Pod (``server_process``, ``release_pods``,
``health_probes``, ``containers``, ``environments``), and the client of a server (``release_client``). Does not belong here: the
contents of a release (``sluice.release``), and how much traffic it gets (``sluice.rollout``).

The serving environment imports this package without the tool's libraries. Therefore this module imports nothing, ``scorer`` and
``batching`` need only numpy, pandas and joblib, and the other modules of a server need only the standard library.
"""
