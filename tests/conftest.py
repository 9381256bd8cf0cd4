"""The four suites use Sluice's fixtures; `pytest tests/model` and the layer in a pipeline are the same tests."""

pytest_plugins = ["sluice.checks.plugin"]
