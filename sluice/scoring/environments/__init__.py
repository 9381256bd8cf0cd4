"""The serving environments on this machine, and which of them serves a release.

Belongs here: finding interpreters and comparing their libraries with a release's. Does not belong here: the check that a server
makes itself before it loads a release (``sluice.scoring.scorer``), because nothing here replaces it.
"""
