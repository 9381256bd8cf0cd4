"""Releases as images in an OCI registry.

Belongs here: the registry's HTTP API (``client``), names of images (``references``), credentials (``credentials``), and pushing a
release on top of the serving image (``pushing``, ``publishing``).
"""
