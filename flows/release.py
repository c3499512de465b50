"""The release flow: register, export, audit."""

from prefect import flow

from flows import tasks
from flows.context import load_context

STAGES = ["export", "audit"]


@flow(name="release", persist_result=False)
def release(root: str, overrides: list[str], data_versions: dict[str, str]) -> dict[str, str]:
    """Decide who is champion, publish its embeddings and certify them."""
    context = load_context(root, overrides)
    tasks.compare(context)
    tasks.register(context, data_versions)
    tasks.export(context)
    tasks.audit(context)
    return tasks.version_data(context, STAGES)
