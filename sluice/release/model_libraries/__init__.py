"""Which libraries a model's process can load, as the training environment finds them.

Belongs here: reading the imports of the project's own code (``imports``; pure), and completing them with what the libraries
require (``closures``). Does not belong here: versions and builds of libraries (``sluice.release.fingerprint``), because the
serving environment reads them too, and it does not have this package.
"""
