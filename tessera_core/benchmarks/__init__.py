"""Benchmark tasks: their data sources, their labelled units, and their train/test splits."""
