"""The four suites use Sluice's fixtures. `pytest tests/model` and the model layer of a pipeline run the same tests."""

pytest_plugins = ["sluice.checks.plugin"]
