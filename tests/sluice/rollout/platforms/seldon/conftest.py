"""Let the tests in subfolders import the simulated cluster."""
