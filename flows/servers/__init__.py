"""Start the Prefect and MLflow servers of a checkout, their login and the schedule."""
