"""Releases: code, data, model and environment bound into one digest, kept in an OCI layout, and served.

Belongs here: the model layer and its digest (``layer``, ``fingerprint``, ``golden``, ``manifest``, ``packaging``), where
releases are kept (``store``, ``layout``, ``provenance``), and how one is loaded and served (``scorer``, ``sources``,
``serving``, ``launcher``). Does not belong here: whether a model is good (`sluice.checks`, `sluice.gate`) and which release
takes traffic (`sluice.rollout`).

The serving environment imports this package without the tool's libraries: the module imports nothing; ``fingerprint``, ``layer``,
``sources`` and ``launcher`` are of the standard library alone; ``columns``, ``golden`` and ``scorer`` add numpy, pandas and
joblib.
"""
