"""The local engine: kfp.local in a child process, and the records of its runs below ``.sluice/runs/``."""
