"""One Hypothesis profile for the tool's own tests: on a busy machine a single example may take longer than its default 200 ms."""

from hypothesis import settings

settings.register_profile("sluice", deadline=None)
settings.load_profile("sluice")
