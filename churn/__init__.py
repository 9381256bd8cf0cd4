"""The churn example: a project as a user of Sluice would write it, with its data, features, model, expectations and story.

Belongs here: what a data scientist of this project writes, and the simulation that replaces the export of a real company. Does
not belong here: parts of the tool, or anything that the tool would have to know, because the tool finds these functions through
sluice.toml. `features` and `model` are part of every release, so they import only numpy, pandas and scikit-learn.
"""
