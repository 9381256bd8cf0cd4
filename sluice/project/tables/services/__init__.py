"""The tables of the services that run beside production: the drift monitor and the webhook.

Belongs here: what `sluice monitor` and `sluice webhook` read from sluice.toml. Does not belong here: what is measured as drift
(`sluice/project/tables/drift.py`).
"""
