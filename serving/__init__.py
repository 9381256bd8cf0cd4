"""How this project's releases are served: the Seldon model class, its image and the libraries of its environment.

What belongs here: what runs in the serving environment beside the release. What must not: the model and its features (they
travel in the release), and anything that needs the tool's environment.
"""
