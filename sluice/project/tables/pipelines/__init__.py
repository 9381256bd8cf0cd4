"""The tables about pipelines: where they run, when they run, and in which image."""
