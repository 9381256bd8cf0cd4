"""The churn example: a project as a user of Sluice would have it, with its data, features, model, expectations and story.

What belongs here: what a data scientist of this project writes, and the simulation that stands in for the company's
export. What must not: anything of the tool, and anything that the tool would need to know; it finds these functions
through sluice.toml. `features` and `model` travel in every release and import nothing but numpy, pandas and
scikit-learn.
"""
