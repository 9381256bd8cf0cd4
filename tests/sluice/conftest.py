"""A Hypothesis profile for the tool's own tests without a deadline, because on a busy machine one example may exceed 200 ms."""

from hypothesis import settings

settings.register_profile("sluice", deadline=None)
settings.load_profile("sluice")
