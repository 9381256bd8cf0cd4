"""Rollouts: a release takes 5, 25 and then 100 % of the traffic, with evidence at each step, and is rolled back when it fails.

Belongs here: the decisions (``decisions``, pure), what people and pipeline steps ask for (``requests``), the control round
(``round``) with the protocol that it drives (``observations``), and the platforms that implement this protocol (``platforms``).
Does not belong here: training, testing or packaging a model, and printing.
"""
