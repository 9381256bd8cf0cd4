"""What people and pipeline steps ask of a rollout.

Belongs here: the rules for requests (``admission``), writing a request (``starts``), an approval (``approvals``) or a command
(``commands``) into the journal, waiting for what comes of it (``outcomes``), and reading it (``statuses``, ``histories``). Every
function works on every platform, because the platform provides the journal. Does not belong here: moving traffic, and printing.
"""
