"""CPU time and memory of the statistics, each against a plain way to do the same. `benchmarks.statistics` shows them."""
