"""Fitted models as files. Only this package unpickles a model, and only after it has verified the bytes."""
