"""The sweep flow: one data set, a grid of training settings, one table to choose from."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from prefect import flow, task, unmapped

from flows import tasks
from flows.console import say, say_stage
from flows.context import load_context
from flows.dataset import STAGES, dataset
from flows.services.sweep_grid import Plan, plan_sweep, require_concurrency
from flows.services.sweep_trials import (
    DONE,
    PROBE,
    Row,
    best_of,
    describe_trial,
    rank,
    render_csv,
    render_table,
)
from tessera_core.errors import TesseraError, TrainingError
from tessera_core.records.files import write_atomically
from tessera_core.terminal import keep_for_ourselves

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

TABLE_FOLDER = "sweep"


@flow(name="sweep", flow_run_name="sweep", persist_result=False)
def sweep(
    grid: list[str],
    root: str = ".",
    overrides: list[str] | None = None,
    concurrency: int = 1,
) -> list[dict[str, str]]:
    """Train and evaluate every point of a grid and return the table, best probe score first.

    Args:
        grid: Settings with their values, each as ``pretrain.name=value,value``.
        root: Checkout that holds ``params.yaml``.
        overrides: Settings of all trials as ``section.name=value``.
        concurrency: Trials at the same time, each in a process of its own; they share the cores
            and the GPUs of the machine.

    Raises:
        InputError: The grid or a setting of all trials is refused, before anything runs.
        TrainingError: Some trials failed; the others are done, and the table tells.
    """
    from flows.adapters.tracking import open_run

    require_concurrency(concurrency)
    plan = plan_sweep(root, grid, overrides or [])
    dataset(root, list(plan.overrides))
    name = f"sweep-{plan.key[:6]}"
    with open_run(plan.base.settings, plan.key, name) as parent:
        parent.log_params({f"grid.{axis}": ", ".join(each) for axis, each in plan.grid.items()})
        parent.set_tags({"tessera.config_digest": plan.base.config.digest})
        errors = run_trials(plan, parent.run_id, concurrency)
        rows = rank([describe_trial(plan, trial, errors.get(trial.label)) for trial in plan.trials])
        log_table(plan, rows, parent)
        say_table(plan, rows)
        say(f"MLflow       {name}: {parent.address}")
        failed = [row for row in rows if row.status != DONE]
        if failed:
            raise TrainingError(
                f"{len(failed)} of {len(rows)} trials did not finish; the first: "
                f"{failed[0].trial.label}: {failed[0].error}. "
                "Mend that and run the same command again: what is done is reused"
            )
    return [row.cells for row in rows]


def run_trials(plan: Plan, parent: str, concurrency: int) -> dict[str, str]:
    """Run all trials that the settings allow; return why each failed one did, by its label."""
    from prefect.task_runners import ThreadPoolTaskRunner

    each = {trial.label: trial.overrides for trial in plan.trials if not trial.refusal}
    root, base = str(plan.base.paths.root), list(plan.overrides)
    if concurrency == 1:
        return run_in_turn(each, root, base, parent)
    # The feed's cache is filled once, not by all processes at the same time.
    from tessera_core.feed.reader import open_feed

    open_feed(plan.base.paths.shards, "train", plan.base.paths.feed_cache)
    runner: Any = ThreadPoolTaskRunner(max_workers=concurrency)
    return run_side_by_side.with_options(task_runner=runner)(each, root, base, parent)


@flow(name="trials", persist_result=False)
def run_in_turn(
    each: dict[str, list[str]], root: str, base: list[str], parent: str
) -> dict[str, str]:
    """Run trials one after the other in this process."""
    states = {
        label: trial(label, overrides, root, base, parent, apart=False, return_state=True)
        for label, overrides in each.items()
    }
    return _errors(states)


@flow(name="trials", persist_result=False)
def run_side_by_side(
    each: dict[str, list[str]], root: str, base: list[str], parent: str
) -> dict[str, str]:
    """Run trials as mapped tasks, as many at a time as the task runner has threads."""
    futures = trial.map(
        list(each), list(each.values()), unmapped(root), unmapped(base), unmapped(parent),
        apart=unmapped(True),
    )  # fmt: skip
    futures.wait()
    return _errors({label: future.state for label, future in zip(each, futures, strict=True)})


@task(name="trial", task_run_name="trial/{label}", **tasks.OPTIONS)
def trial(
    label: str, overrides: list[str], root: str, base: list[str], parent: str, *, apart: bool
) -> None:
    """Train and evaluate one point of the grid, here or ``apart`` in a process of its own."""
    say()
    say(f"trial     {label}")
    if apart:
        # Seeds, thread counts and determinism are settings of a process: threads would mix them.
        call_apart(train_and_evaluate, overrides, root, base, parent)
    else:
        train_and_evaluate(overrides, root, base, parent)


def train_and_evaluate(overrides: list[str], root: str, base: list[str], parent: str) -> None:
    """Run one trial in its own workspace, on the base's data."""
    from tessera_core.ports import OFFLINE
    from tessera_core.stages import run_stage

    context = load_context(root, [*base, *overrides], base)
    for stage in STAGES:
        # Nothing to do but to share, unless the scenes changed since the base was made.
        say_stage(run_stage(stage, context.config, context.paths, OFFLINE, context.lenders))
    tasks.pretrain.fn(context, parent)
    tasks.evaluate_and_log(context)


def call_apart(function: Callable[..., None], *arguments: Any) -> None:
    """Call a function in a fresh process; its errors arrive here.

    Raises:
        TrainingError: The process was killed.
    """
    with ProcessPoolExecutor(
        1, mp_context=get_context("spawn"), initializer=keep_for_ourselves
    ) as process:
        try:
            process.submit(function, *arguments).result()
        except BrokenProcessPool as error:
            raise TrainingError(
                "its process was killed, perhaps for want of memory; with a lower --concurrency "
                "the same command goes on from its last checkpoint"
            ) from error


def log_table(plan: Plan, rows: Sequence[Row], parent: Any) -> None:
    """Keep the table on disk, in the parent run and on the flow run's page; name the best there."""
    from prefect.artifacts import create_table_artifact

    path = plan.base.paths.sweeps / plan.key[:12] / "trials.csv"
    write_atomically(path, render_csv(rows).encode())
    parent.log_artifact(path, TABLE_FOLDER)
    create_table_artifact(table=[row.cells for row in rows], key="sweep", description="Trials")
    if (best := best_of(rows)) is not None and best.probe is not None:
        parent.log_metrics(0, {f"best/{PROBE}": best.probe})
        parent.set_tags(
            {"tessera.sweep.best_trial": best.trial.label, "tessera.sweep.best_run": best.run_id}
        )


def say_table(plan: Plan, rows: Sequence[Row]) -> None:
    """Print the table, what went wrong, and how to go on with the best trial."""
    say()
    for line in render_table(rows):
        say(line)
    for row in rows:
        if row.error:
            say(f"{row.status}: {row.trial.label}: {row.error}")
    say()
    best = best_of(rows)
    if best is None:
        say("no trial has a probe score, so none is best; are there labels to probe on?")
        return
    words = [word for name in (*plan.overrides, *best.trial.overrides) for word in ("--set", name)]
    say(f"best         {best.trial.label}, by probe score and never by loss")
    say(f"release it   {shlex.join(['tessera', 'retrain', *words])}")
    say(f"table        {plan.base.paths.sweeps / plan.key[:12] / 'trials.csv'}")


def _errors(states: "Mapping[str, State[Any]]") -> dict[str, str]:
    """Return why each failed trial did."""
    errors = {}
    for label, state in states.items():
        if not state.is_completed():
            cause = state.result(raise_on_failure=False)
            is_ours = isinstance(cause, TesseraError)
            errors[label] = str(cause) if is_ours else f"{type(cause).__name__}: {cause}"
    return errors
