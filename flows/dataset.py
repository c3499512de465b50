"""The dataset flow: ingest, quality gate, shuffle."""

from prefect import flow

from flows import tasks
from flows.context import load_context
from flows.services.meanwhile import ensure_scenes

STAGES = ["ingest", "quality", "shuffle"]


@flow(name="dataset", persist_result=False)
def dataset(root: str, overrides: list[str]) -> dict[str, str]:
    """Turn scenes into shards and return DVC's md5 of each data set."""
    context = load_context(root, overrides)
    ensure_scenes(context)
    tasks.ingest(context)
    tasks.quality(context)
    tasks.shuffle(context)
    return tasks.version_data(context, STAGES)
