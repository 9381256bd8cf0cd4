"""Releases: code, data, model and environment, bound together under one digest.

Belongs here: the model layer and its digest (``layer``, ``fingerprint``, ``golden``, ``columns``, ``manifest``, ``packaging``),
where a release comes from (``provenance``), and the two places that store releases: ``store`` on disk and ``registry`` over the
network. Does not belong here: serving a release (``sluice.scoring``), whether a model is good (``sluice.checks``,
``sluice.gate``), and which release takes traffic (``sluice.rollout``).

The serving environment imports this package without the tool's libraries: this module imports nothing, ``fingerprint`` and
``layer`` use the standard library alone, and ``columns`` and ``golden`` add numpy and pandas.
"""
