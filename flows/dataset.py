"""The dataset flow: ingest, quality gate, shuffle."""

from prefect import flow

from flows import tasks
from flows.console import say
from flows.context import Context, load_context

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


def ensure_scenes(context: Context) -> None:
    """Write the embedded default's scenes when the settings point at them."""
    config = context.config
    if config.ingest.source == "stac" and config.ingest.path == config.simulate.path:
        from tessera_core.simulate import simulate

        catalogue = simulate(config.simulate, context.paths.root)
        say(f"scenes    simulated in {catalogue.parent.relative_to(context.paths.root)}")
