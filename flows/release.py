"""The release flow: register, export, audit; without a champion, the version is audited."""

from prefect import flow

from flows import tasks
from flows.context import load_context

STAGES = ["export", "audit"]


@flow(name="release", persist_result=False)
def release(root: str, overrides: list[str], data_versions: dict[str, str]) -> dict[str, str]:
    """Decide who is champion, publish its embeddings and certify them.

    Where no version has earned it, nothing is published, and the new version is certified.
    """
    context = load_context(root, overrides)
    tasks.compare(context)
    receipt = tasks.register(context, data_versions)
    if receipt.facts["champion"] is None:
        tasks.certify(context)
        return tasks.version_data(context, [])
    tasks.export(context)
    tasks.audit(context)
    return tasks.version_data(context, STAGES)
