"""Snapshots, which the digest of their bytes names, and the holdout with its two parts.

Belongs here: pinning a file by its digest, reading it with the project's own loader, and splitting the holdout. Does not belong
here: what the columns of a project mean, features, statistics, and anything that changes the bytes of a snapshot.
"""
