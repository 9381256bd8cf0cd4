"""The commands that a person meets first. Does not belong here: the daily work on a model (``work``)."""
