"""Implementations of the core's ports with MLflow, DVC and Prefect's task mapping."""
