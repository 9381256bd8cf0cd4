"""The kinds ModelRollout and RolloutApproval: what people ask for, what they approve, and what the controller answers.

Belongs here: reading a request or a command from the spec of a ModelRollout (``rollout_specs``), its status
(``rollout_statuses``), approvals (``rollout_approvals``), the journal in the status (``rollout_journals``), what a controller
does with them in each round (``rollout_records``, ``rollout_autoscalers``), and the journal of earlier versions of Sluice
(``takeovers``). The kinds themselves are in ``manifests/crds``. The time in which one controller acts (``tenures``) belongs here,
because it begins with the epoch in these objects. Does not belong here: SeldonDeployments, routes and Pods.
"""
