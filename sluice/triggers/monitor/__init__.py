"""The drift monitor: it counts the requests of production in the bins of the champion's reference, and starts a retraining.

Belongs here: reading events, counting them in windows, judging a window, and the state of all this. Does not belong here: what
drift is (`sluice/drift/`). A value of a request exists only in memory, and only until it is counted.
"""
