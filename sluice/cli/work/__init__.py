"""The commands for the daily work on a model: run, test, gate, holdout, drift, report. They move no traffic."""
