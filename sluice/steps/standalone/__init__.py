"""Single steps outside a run: test layers, questions to the gate, and releases that are made of their results.

The jobs of a CI system use them. The result of each is stored under `.sluice/`, together with the digest of what was judged. A
release that is built outside a run contains only what was found about its own code, snapshot and model.
"""
