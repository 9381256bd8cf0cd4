"""The releases of a project on disk, as an OCI image layout.

Belongs here: the store with its numbers and tags (``releases``), the OCI image layout under it (``layout``), the OCI documents
that it writes (``images``), unpacked model layers (``unpacked_layers``), and checking a stored release byte by byte
(``verification``). Does not belong here: releases in a registry (``sluice.release.registry``).
"""
