"""KFP's pipeline IR, read into a small frozen graph, and what can be said about it without a target.

Belongs here: reading the YAML (`documents`, `fields`, `reading`), the graph (`graph`), conditions and placeholders as data
(`conditions`, `placeholders`). Does not belong here: Argo, Kubernetes, and `kfp` itself, whose import costs more than a
compilation.
"""
