"""Settings for all of the tool's own tests.

The Hypothesis profile has no deadline, because on a busy machine one example may exceed 200 ms. A shell that starts the tests in
the background lets them ignore SIGINT, and so would every process that they start. Then no test of ctrl-C could pass.
"""

import signal

from hypothesis import settings

settings.register_profile("sluice", deadline=None)
settings.load_profile("sluice")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
