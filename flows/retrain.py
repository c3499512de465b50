"""The whole cycle: dataset, training, release. This is what is scheduled."""

from typing import Any

from prefect import flow

from flows.context import load_context, require_questions
from flows.dataset import dataset
from flows.release import release
from flows.reporting import publish_links, summarise
from flows.servers.probe import require_mlflow
from flows.services.evidence import evidence_of_team
from flows.services.models import refuse_older_registry
from flows.training import training


@flow(name="retrain", flow_run_name="retrain", persist_result=False)
def retrain(root: str = ".", overrides: list[str] | None = None) -> dict[str, Any]:
    """Run ingest to audit and return a summary of the outcome.

    Args:
        root: Checkout that holds ``params.yaml``.
        overrides: Settings as ``section.name=value``; they give the run its own workspace.
    """
    chosen = overrides or []
    context = load_context(root, chosen)
    require_questions(context)
    require_mlflow(context.settings)
    with evidence_of_team(context):
        # Now, not after an hour of training: what the team knows has just arrived.
        refuse_older_registry(context, context.config.register.model_name)
        data_versions = dataset(root, chosen)
        data_versions |= training(root, chosen)
        release(root, chosen, data_versions)
    publish_links(context)
    return summarise(context)
