"""The figures of the README: each module measures one of them and prints it.

Run a module from the project's root, for example ``python -m benchmarks.statistics``. The tool and the example import nothing
from here.
"""
