"""The tables of sluice.toml, one module each.

Belongs here: the keys of one table, with their types, defaults, descriptions and checks. Does not belong here: reading the file,
or code that uses a setting.
"""
