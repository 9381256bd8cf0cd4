"""The tables of sluice.toml, one module each.

Belongs here: the keys of one table, their types, defaults, descriptions and checks. Does not belong here: reading the file, or
anything that uses a setting.
"""
