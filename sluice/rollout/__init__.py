"""Rollouts: 5 → 25 → 100 %, with evidence at each step, and back by themselves.

Belongs here: what decides where production traffic goes (``states``, ``plan``, ``evidence``: pure), what remembers it
(``journal``), what makes it so (``splitters``, ``servers``, ``control``, ``supervisor``) and what steps and the
command line ask for (``requests``). Does not belong here: how a model is trained, tested or packaged, and anything
that prints.
"""
