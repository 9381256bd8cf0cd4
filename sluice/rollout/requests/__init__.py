"""What people and pipeline steps request of a rollout.

Belongs here: the rules for requests (``admission``), writing a request (``starts``), an approval (``approvals``) or a command
(``commands``) into the journal, waiting for the outcome (``outcomes``), and reading it (``statuses``, ``histories``). It also
finds the release that a person names (``release_references``, ``published_releases``). Every function works on every platform,
because the platform provides the journal. Does not belong here: moving traffic, and printing.
"""
