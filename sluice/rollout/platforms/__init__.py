"""The platforms: where releases are served and traffic is split.

Belongs here: one folder for each platform, which implements ``sluice.rollout.observations.Platform``, and the choice between them
(``selection``). Does not belong here: deciding anything. No platform imports another one.
"""
