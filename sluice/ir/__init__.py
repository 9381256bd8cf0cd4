"""KFP's pipeline IR, read into a graph of frozen dataclasses, and everything that needs this graph but no target.

What belongs here: reading the YAML (`documents`, `fields`, `reading`), the graph (`graph`), its conditions and placeholders
(`conditions`, `placeholders`), and checks and comparisons of pipelines (`references`, `lint`, `differences`).
What does not belong here: Argo, Kubernetes, and imports of `kfp`, which take longer than a compilation.
"""
