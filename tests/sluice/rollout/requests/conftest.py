"""The fixtures of a trained project and its release."""

from release_fixtures import layer, layer_copy, make_layer, trained

__all__ = ["layer", "layer_copy", "make_layer", "trained"]
