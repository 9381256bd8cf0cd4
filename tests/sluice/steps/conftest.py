"""The fixtures of a trained project and its release."""

from release_fixtures import layer, trained

__all__ = ["layer", "trained"]
