"""What starts a retraining: drifted requests (`monitor/`) and signed messages (`webhook/`).

Belongs here: the two services, their limits and their state. Does not belong here: what drift is (`sluice/drift/`), and how a
pipeline runs (`sluice/engines/`). Both services start runs only through `starters.py`. A run that they start trains on the data
that sluice.toml names, passes the same tests and the same gate as every other run, and waits for a person's approval.
"""
