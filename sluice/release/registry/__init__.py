"""Releases as images in an OCI registry.

Belongs here: the registry's HTTP API (``registry_client``), names of images (``image_references``), credentials
(``credentials``), and pushing a release on top of the serving image (``pushing``, ``publishing``). Does not belong here: releases
on disk (``sluice.release.store``).
"""
