"""Serving this project's releases: the Seldon model class, its image, and the libraries of its environment.

Belongs here: code that runs in the serving environment and is not part of a release. Does not belong here: the model and its
features, because the release contains them, and anything that needs the tool's environment.
"""
