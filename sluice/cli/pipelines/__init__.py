"""The commands that turn a pipeline into a file for a cluster, and describe the settings and outputs that it uses."""
