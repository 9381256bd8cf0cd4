"""Because of this file, tests in the folders below can import `gate_inputs`."""
