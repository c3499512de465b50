"""The whole cycle: dataset, training, release. This is what is scheduled."""

from typing import Any

from prefect import flow

from flows.context import load_context
from flows.dataset import dataset
from flows.release import release
from flows.reporting import publish_links, summarise
from flows.services import require_mlflow
from flows.training import training


@flow(name="retrain", flow_run_name="retrain", persist_result=False)
def retrain(root: str = ".", overrides: list[str] | None = None) -> dict[str, Any]:
    """Run ingest to audit and return a summary of the outcome.

    Args:
        root: Checkout that holds ``params.yaml``.
        overrides: Settings as ``section.name=value``; they give the run its own workspace.
    """
    chosen = overrides or []
    require_mlflow(load_context(root, chosen).settings)
    data_versions = dataset(root, chosen)
    data_versions |= training(root, chosen)
    release(root, chosen, data_versions)
    context = load_context(root, chosen)
    publish_links(context)
    return summarise(context)
