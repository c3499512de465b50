"""Servers of a checkout: Prefect and MLflow, their login and their schedule."""
