"""The training flow: pretrain, evaluate."""

from prefect import flow

from flows import tasks
from flows.context import load_context
from flows.services.meanwhile import baselines_meanwhile

STAGES = ["pretrain", "evaluate"]


@flow(name="training", persist_result=False)
def training(root: str, overrides: list[str]) -> dict[str, str]:
    """Turn shards into a scored model and return DVC's md5 of each data set."""
    context = load_context(root, overrides)
    with baselines_meanwhile(context):
        tasks.pretrain(context)
    tasks.evaluate(context)
    return tasks.version_data(context, STAGES)
