"""The lease: which controller acts, and for how long after it was heard of last.

Belongs here: taking, renewing and releasing the lease (``lease_locks``), and the thread that does so beside the control rounds
(``lease_renewals``). Does not belong here: what a controller does once it acts.
"""
