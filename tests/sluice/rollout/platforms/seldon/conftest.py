"""Tests in subfolders import the simulated cluster of this folder, because pytest adds the folder of a conftest to the path."""
