"""Signs that a model knows what it cannot know at the time of a prediction. They give warnings, because they prove nothing.

Belongs here: judging features and scores, on rows that are given (pure functions). Does not belong here: an overlap of training
data and holdout, which is refused (``sluice.data.overlaps``), reading rows, and the gate rows, which only the gate may use.
"""
