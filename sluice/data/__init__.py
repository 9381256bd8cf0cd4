"""Data as it is tested, trained on and judged by: snapshots named by their digest, and the holdout's two parts.

Belongs here: pinning bytes, reading them with the project's own loader, the split of the holdout. Must not be here:
what the columns of any project mean, features, statistics, or anything that changes the bytes of a snapshot.
"""
