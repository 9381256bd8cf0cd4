"""Scripts for those who work on this repository: they check its structure and its changes.

The tool and the example import nothing from here.
"""
