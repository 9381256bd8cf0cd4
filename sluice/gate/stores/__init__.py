"""Where the ledger is stored: ``folders`` on a machine, ``config_maps`` in a cluster.

A store holds one document as text and replaces it only if nobody else has changed it. It knows nothing of what the document says.
"""
