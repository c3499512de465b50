"""Ports made real: the only imports of mlflow and dvc in the project."""
