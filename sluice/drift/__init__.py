"""Drift: how far data has moved from a reference, column by column, and whether the champion's AUC has fallen.

Belongs here: what a column is, reading rows in batches, the frozen reference, the counts of the present data, and the results.
Does not belong here: the mathematics of the index (`sluice/statistics/`), and which snapshot is the reference (`sluice/steps/`).
"""
