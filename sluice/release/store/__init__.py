"""The releases of a project on disk, as an OCI image layout.

Belongs here: the store with its numbers and tags (``releases``), the layout below it (``layout``), the OCI documents that it
writes (``images``), unpacked model layers (``unpacked``), and reading a stored release again byte by byte (``verification``).
"""
