"""A release of a trained project."""

from release_fixtures import layer, layer_copy, trained

__all__ = ["layer", "layer_copy", "trained"]
