"""The routes from the gateway to the releases: keeping them as Seldon's operator makes them, with the journal's weights.

Belongs here: writing the VirtualService (``route_writer``) and the DestinationRules (``destination_rules``), and asking the
gateway (``gateway_checks``). Does not belong here: the form of the objects, which is pure (``objects/route_forms``).
"""
