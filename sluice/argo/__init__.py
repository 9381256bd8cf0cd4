"""The graph of `sluice.ir` lowered to plain Argo Workflows: dicts that any Argo takes, no KFP backend behind them.

Belongs here: tables of handlers from the graph to Argo objects, expressions, Kubernetes settings, the launcher that runs in a
step's own image. Does not belong here: reading IR (`ir`), talking to a cluster (`engines`), importing `kfp` or `hera`.

How a value travels: every Argo parameter holds *wire JSON*: ASCII, without ``{{`` and ``$``, so that neither Argo nor
Kubernetes finds a template in data. What a container without Python writes is turned into it by an expression at the first hop.
An artifact travels as wire JSON too, a descriptor with name, type, uri and metadata; its bytes lie under a key of Argo's
artifact repository that the uri tells.
"""
