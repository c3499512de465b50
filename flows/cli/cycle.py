"""Commands that run the cycle: retrain, sweep, simulate, and each stage by itself."""

import argparse
from typing import TYPE_CHECKING

from flows.cli.parsers import Commands, add_command
from flows.console import say, say_stage, say_summary
from tessera_core.errors import GateError

if TYPE_CHECKING:
    from flows.context import Context
    from tessera_core.records.receipt import Receipt

SWEEP_EXAMPLE = """\
example:
  tessera sweep --grid pretrain.peak_lr=0.005,0.01 --grid pretrain.seed=17,18

  Four trials on one data set, each in a workspace of its own, compared in MLflow under one parent
  run. The same command again reuses what is done. Exit codes: 1 some trials failed or were refused,
  2 all were refused or the grid is none.
"""
STAGE_HELP = {
    "ingest": "scenes to samples (Parquet d-pixels with scenes tables)",
    "quality": "gate the samples; exit 3 when a rule fails",
    "shuffle": "samples to globally shuffled shards, splits and norms",
    "pretrain": "shards to model artifact, resuming where it stopped",
    "evaluate": "score the model beside its baselines",
    "register": "make it a version; champion or challenger, with reasons",
    "export": "the champion embeds every tile",
}


def add_cycle_commands(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add them all."""
    add_command(commands, common, "retrain", "run the whole cycle as a Prefect flow", _retrain)
    _add_sweep(commands, common)
    add_command(commands, common, "simulate", "write the embedded default's scenes", _simulate)
    for stage, text in STAGE_HELP.items():
        add_command(commands, common, stage, text, _stage)


def _add_sweep(
    commands: Commands,
    common: argparse.ArgumentParser,
) -> None:
    """Add ``sweep``."""
    text = "train and evaluate a grid of pretrain settings, ranked by probe score"
    parser = add_command(commands, common, "sweep", text, _sweep)
    parser.epilog = SWEEP_EXAMPLE
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--grid", action="append", required=True, metavar="pretrain.NAME=VALUE,VALUE",
        help="a setting and the values to try; may be repeated, then every combination is tried",
    )  # fmt: skip
    parser.add_argument(
        "--concurrency", type=int, default=1, metavar="N",
        help="trials at the same time, each a process; they share cores and GPUs (default: 1)",
    )  # fmt: skip


def _retrain(chosen: argparse.Namespace) -> int:
    from flows.context import load_context, require_questions, require_writable
    from flows.servers.probe import require_servers

    # Settings first: Prefect and MLflow read their environment when imported.
    context = load_context(chosen.root, chosen.overrides)
    require_writable(context.paths.root)
    require_questions(context)
    require_servers(context.settings)
    say(f"workspace {context.paths.workspace}")
    from flows.reporting import receipts_of, summarise, unchanged
    from flows.services.settled import is_settled

    before = receipts_of(context)
    # A team's server is to see every run; the one that a run starts for itself nobody looks at.
    if not context.settings.prefect_api_url and is_settled(context):
        summary = summarise(context)
    else:
        from flows.services.meanwhile import scenes_meanwhile

        with scenes_meanwhile(context):
            from flows.retrain import retrain

            summary = retrain(root=str(context.paths.root), overrides=chosen.overrides)
    if before == receipts_of(context):
        say(unchanged(summary, len(before)))
    say_summary(summary)
    return 0 if summary["champion"] else GateError.exit_code


def _sweep(chosen: argparse.Namespace) -> int:
    from flows.context import require_questions, require_writable
    from flows.servers.probe import require_servers
    from flows.services.sweep_grid import plan_sweep, require_concurrency

    require_concurrency(chosen.concurrency)
    # Settings first: Prefect and MLflow read their environment when imported.
    plan = plan_sweep(chosen.root, chosen.grid, chosen.overrides)
    require_writable(plan.base.paths.root)
    require_questions(plan.base)
    require_servers(plan.base.settings)
    say(f"sweep     {len(plan.trials)} trials, data in {plan.base.paths.workspace}")
    from flows.sweep import sweep

    root = str(plan.base.paths.root)
    sweep(chosen.grid, root, chosen.overrides, chosen.concurrency)
    return 0


def _simulate(chosen: argparse.Namespace) -> int:
    from flows.context import load_context, require_writable
    from tessera_core.simulate import simulate

    context = load_context(chosen.root, chosen.overrides)
    require_writable(context.paths.root)
    say(f"catalogue {simulate(context.config.simulate, context.paths.root)}")
    return 0


def _stage(chosen: argparse.Namespace) -> int:
    from flows.context import load_context

    context = load_context(chosen.root, chosen.overrides)
    if chosen.name == "register":
        facts = register(context).facts
        if facts["champion"] is None:
            raise GateError(
                f"{facts['model_name']} version {facts['candidate']['version']} is challenger, and "
                f"there is no champion: {'; '.join(facts['decision']['reasons'])}"
            )
        return 0
    from tessera_core.ports import OFFLINE
    from tessera_core.stages import run_stage, take_over_upstream

    config, paths, lenders = context.config, context.paths, context.lenders
    take_over_upstream(chosen.name, config, paths, lenders)
    say_stage(run_stage(chosen.name, config, paths, OFFLINE, lenders))
    return 0


def register(context: "Context") -> "Receipt":
    """Compare the workspace's model with the champion, and register it."""
    from flows.adapters.versioning import version_outputs
    from flows.tasks import compare, register

    compare.fn(context)
    with context.alone_with("dvc"):
        data_versions = version_outputs(context.paths, ())
    receipt: Receipt = register.fn(context, data_versions)
    return receipt
