"""The recall flow: run again without bad data, and stamp what that supersedes."""

from typing import Any

from prefect import flow

from flows.console import say
from flows.context import Context, load_context
from flows.retrain import retrain
from tessera_core.errors import GateError
from tessera_core.lineage.recall.report import find_recall
from tessera_core.lineage.recall.stamps import stamp_recalled


@flow(name="recall", flow_run_name="recall", persist_result=False)
def rerun_without(root: str, plan: list[list[str]]) -> list[dict[str, Any]]:
    """Run the whole cycle once per list of overrides; return the summaries."""
    return [retrain(root=root, overrides=overrides) for overrides in plan]


def carry_out(context: Context, what: str) -> None:
    """Carry the plan of a recall out. Running it again goes on where it stopped.

    Raises:
        InputError: Nothing in the lineage has that name.
        GateError: The promotion rule kept a recalled model, so nothing replaces its exports yet.
    """
    paths = context.paths
    recall, found = find_recall(what, context.config.to_dict(), paths)
    reruns = recall.plan.reruns
    if not reruns:
        say("nothing has to run again")
        return
    root = str(paths.root)
    rerun_without(root, [list(rerun.overrides) for rerun in reruns])
    replacements = {
        rerun.workspace: load_context(root, rerun.overrides).paths.workspace for rerun in reruns
    }
    stamps, kept = stamp_recalled(recall, found, replacements, paths)
    replaced = sum(bool(stamp.replaced_by) for stamp in stamps)
    say(f"stamped  {len(stamps)} digests in the lineage, {replaced} of them replaced")
    if kept:
        raise GateError(
            f"{'; '.join(kept)}. Let a person decide: `tessera promote VERSION --by NAME "
            f"--reason TEXT`, then `tessera recall {what} --run` again publishes and stamps"
        )
