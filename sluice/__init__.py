"""Sluice: from a commit to production traffic, for machine-learning models on Kubernetes.

This package is the tool. It knows no project: what is a project's own (data, features, model, tests) is named in its sluice.toml.
The module itself imports nothing, because the serving environment imports parts of `sluice.release` without the tool's libraries.
"""

__version__ = "0.1.0"
