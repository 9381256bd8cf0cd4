"""Releases: code, data, model and environment, bound together under one digest.

Belongs here: the model layer and its contents (``model_layer``, ``fingerprint``, ``golden_rows``, ``feature_columns``,
``manifest``, ``packaging``), what is signed about it (``envelopes``, ``gate_statements``, ``provenance``) and who believes it
(``trust_rules``; pure), and the two places that store releases: ``store`` on disk and ``registry`` over the network. Does not
belong here: serving a release (``sluice.scoring``), deciding whether a model is good (``sluice.checks``, ``sluice.gate``), and
which release takes traffic (``sluice.rollout``).

The serving environment imports this package without the tool's libraries. Therefore this module imports nothing, ``fingerprint``
and ``model_layer`` need only the standard library, and ``feature_columns`` and ``golden_rows`` also need numpy and pandas.
"""
