"""Releases as images in an OCI registry.

Belongs here: the registry's HTTP API (``registry_client``), names of images (``image_references``), credentials
(``credentials``), pushing a release on top of the serving image (``pushing``, ``publishing``), its tags and its number
(``release_tags``, ``numbering``), finding and downloading it (``pulling``), the documents that are attached to it
(``referrers``), and all of this together (``registry_releases``). Does not belong here: releases on disk
(``sluice.release.store``).
"""
