"""The ``tessera`` command. Heavy libraries load only once a command needs them."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from flows.cli.lineage import add_lineage_commands
from flows.cli.parsers import OR_ARTIFACT, SUBJECT, Commands, add_command, add_subject
from flows.cli.servers import add_server_commands
from flows.console import complain, heartbeat, say, say_stage, say_summary
from tessera_core import __version__
from tessera_core.errors import GateError

if TYPE_CHECKING:
    from flows.context import Context
    from tessera_core.errors import TesseraError
    from tessera_core.records.receipt import Receipt

EXAMPLES = """\
examples:
  tessera retrain                                  the whole cycle with params.yaml
  tessera retrain --set pretrain.num_steps=800     the same in a workspace of its own
  tessera retrain --set ingest.source=tiles --set ingest.path=../tiles/flanders-2018
  tessera sweep --grid pretrain.peak_lr=0.005,0.01 --grid pretrain.seed=17,18
  tessera import-weights student.pt --family v2-student --name tessera-v2
  tessera embed --model tessera-v2 --tile tiles/33UXP --out embeddings --dim 64
  tessera benchmark tessera/1 --task crop_type     score any version on any task, later
  tessera compare tessera/1 tessera/2              what changed and what it did, as one page
  tessera promote 1 --by Ann --reason "seams in 2" overrule the gate; both are kept for audits
  tessera replay tessera/1                         run its stages again; do they give the same?
  tessera audit                                    verify every digest of the last export
  tessera recall SCENE                             what has seen a bad scene, what to run again
  tessera attest tessera/2 --key KEY.pem           signed provenance, ML-BOM, cards, lineage
  tessera rebuild-tracking                         a lost MLflow database, from receipts
  tessera sync                                     lineage to and from the team's other checkouts
  tessera ui                                       Prefect and MLflow in the browser
  tessera schedule                                 retrain every Monday, until Ctrl-C

exit codes: 0 done, 1 the tool failed, 2 bad usage or input, 3 a gate said no
"""
SWEEP_EXAMPLE = """\
example:
  tessera sweep --grid pretrain.peak_lr=0.005,0.01 --grid pretrain.seed=17,18

  Four trials on one data set, each in a workspace of its own, compared in MLflow under one parent
  run. The same command again reuses what is done. Exit codes: 1 some trials failed or were refused,
  2 all were refused or the grid is none.
"""
AUDIT_EXAMPLES = """\
examples:
  tessera audit                                    behind the current export
  tessera audit tessera/3                          behind a version; tessera@champion works, too
  tessera audit data/exports/tessera-v3-*          behind an export
  tessera audit --pixel 16.455 48.617 --export tessera-v3-1c0b6b1d2f9a
"""
STAGE_HELP = {
    "ingest": "scenes to samples (Parquet d-pixels with scenes tables)",
    "quality": "gate the samples; exit 3 when a rule fails",
    "shuffle": "samples to globally shuffled shards, splits and norms",
    "pretrain": "shards to model artifact, resuming where it stopped",
    "evaluate": "score the model beside its baselines",
    "register": "make it a version; champion or challenger, with reasons",
    "export": "the champion embeds every tile",
    "audit": "verify the chain from export to scenes; exit 3 when anything differs",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    from tessera_core.terminal import keep_for_ourselves

    keep_for_ourselves()
    chosen = build_parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = chosen.command
    try:
        return command(chosen)
    except Exception as error:
        # In a function of its own: a name for the error here would keep what it holds open.
        code = _tell(error, getattr(chosen, "root", "."))
        if code is None:
            raise
        return code
    except KeyboardInterrupt:
        complain("interrupted; a run that is started again goes on where it stopped")
        return 130


def _tell(error: Exception, root: str) -> int | None:
    """Tell an error and return its exit code; None where it is a fault of ours."""
    fault = _told(error, root)
    if fault is None:
        return None
    complain(str(fault))
    return fault.exit_code


def _told(error: Exception, root: str) -> "TesseraError | None":
    """Return an error as the sentence that the user reads; None where it is a fault of ours."""
    from pathlib import Path

    from tessera_core.errors import RemoteError, StorageError, TesseraError
    from tessera_core.records.faults import comes_from_sqlite, machine_fault

    # MLflow's database beside us is no service: what the machine says of it helps more.
    if isinstance(error, TesseraError) and not (
        isinstance(error, RemoteError) and comes_from_sqlite(error)
    ):
        return error
    if (fault := machine_fault(error, Path(root).absolute())) is not None:
        return fault
    if isinstance(error, OSError) and error.filename is not None:
        return StorageError(f"cannot use {error.filename}: {error.strerror}")
    return error if isinstance(error, TesseraError) else None


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="tessera",
        description="Own a TESSERA model: retrain it, compare its versions, prove its lineage.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tessera {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--root", default=".", help="checkout with params.yaml (default: here)")
    common.add_argument(
        "--set", action="append", default=[], metavar="SECTION.NAME=VALUE", dest="overrides",
        help="override a setting; may be repeated; the run gets its own workspace",
    )  # fmt: skip
    add_command(commands, common, "retrain", "run the whole cycle as a Prefect flow", _retrain)
    add_command(commands, common, "simulate", "write the embedded default's scenes", _simulate)
    for stage, text in STAGE_HELP.items():
        if stage != "audit":
            add_command(commands, common, stage, text, _stage)
    _add_audit(commands, common)
    _add_sweep(commands, common)
    _add_versions(commands, common)
    _add_import(commands, common)
    _add_embed(commands, common)
    add_lineage_commands(commands, common)
    add_server_commands(commands)
    return parser


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


def _add_versions(
    commands: Commands,
    common: argparse.ArgumentParser,
) -> None:
    """Add what is about versions: ``benchmark``, ``compare``, ``promote``."""
    text = "score any version on any task, in an MLflow run of its own"
    parser = add_command(commands, common, "benchmark", text, _benchmark)
    parser.add_argument("model", metavar="SUBJECT", nargs="?", help=f"{SUBJECT}{OR_ARTIFACT}")
    parser.add_argument(
        "--task", action="append", default=[], metavar="NAME",
        help="a task of data/benchmarks; may be repeated (default: evaluate.tasks)",
    )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="list the tasks and leave")
    text = "two versions side by side: what changed, and what it did; one offline page"
    parser = add_command(commands, common, "compare", text, _compare)
    add_subject(parser, "first", f"{OR_ARTIFACT}: the older one")
    add_subject(parser, "second", f"{OR_ARTIFACT}: the newer one")
    parser.add_argument("--out", metavar="FILE", help="page (default: in data/comparisons)")
    parser.add_argument(
        "--explain", action="store_true",
        help="train the older one again with each group of changes: which moved the score?",
    )  # fmt: skip
    text = "make a version champion by decision of a person, which is recorded"
    parser = add_command(commands, common, "promote", text, _promote)
    add_subject(parser, "version")
    parser.add_argument("--by", required=True, metavar="NAME", help="who decides")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why")


def _add_audit(
    commands: Commands,
    common: argparse.ArgumentParser,
) -> None:
    """Add ``audit``."""
    parser = add_command(commands, common, "audit", STAGE_HELP["audit"], _audit)
    parser.epilog = AUDIT_EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_subject(parser, "subject", "; its certificate goes to data/audits", has_default=True)
    parser.add_argument(
        "--pixel", nargs=2, type=float, metavar=("LON", "LAT"),
        help="everything behind one pixel of --export, degrees WGS 84",
    )  # fmt: skip
    parser.add_argument("--export", metavar="EXPORT", help="the export that holds the pixel")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def _add_import(
    commands: Commands,
    common: argparse.ArgumentParser,
) -> None:
    """Add ``import-weights``."""
    from tessera_core.model.family import Family

    text = "make a released TESSERA checkpoint a registered model"
    parser = add_command(commands, common, "import-weights", text, _import_weights)
    parser.add_argument("file", metavar="FILE", help="checkpoint (.pt); never unpickled")
    parser.add_argument(
        "--family",
        required=True,
        choices=[family.value for family in Family],
        help="release that it is",
    )
    parser.add_argument("--name", required=True, help="name in the registry")
    parser.add_argument(
        "--shape", action="append", default=[], metavar="NAME=VALUE",
        help="what the file does not tell, as num_heads=4 or s1_num_heads=2; may be repeated",
    )  # fmt: skip


def _add_embed(
    commands: Commands,
    common: argparse.ArgumentParser,
) -> None:
    """Add ``embed``."""
    text = "embed TESSERA tile directories with a registered model"
    parser = add_command(commands, common, "embed", text, _embed)
    parser.add_argument("--model", required=True, metavar="SUBJECT", help=f"{SUBJECT}{OR_ARTIFACT}")
    parser.add_argument("--tile", required=True, nargs="+", metavar="DIR", help="tile directories")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the NPY files go")
    parser.add_argument("--dim", type=int, metavar="K", help="a width that the model orders by")
    parser.add_argument(
        "--float32", action="store_true",
        help="write float32 values, not int8 codes (scales still mark no data by NaN)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of v1.0's random sampling")
    parser.add_argument("--repeats", type=int, default=1, help="random draws to average")
    parser.add_argument(
        "--bfloat16", action="store_true",
        help="multiply in bfloat16: faster where the device has it, about as inexact as int8",
    )  # fmt: skip


def _benchmark(chosen: argparse.Namespace) -> int:
    from flows.context import load_context, require_writable
    from flows.services.versions import answers_of, benchmark, describe_benchmarks

    context = load_context(chosen.root, chosen.overrides)
    if chosen.list:
        for line in describe_benchmarks(context):
            say(line)
        return 0
    if chosen.model is None:
        from tessera_core.errors import InputError

        raise InputError("name a model, as `tessera benchmark tessera`, or --list the tasks")
    require_writable(context.paths.root)
    with heartbeat("benchmark"):
        folder = benchmark(context, chosen.model, chosen.task)
    for line in answers_of(folder, chosen.task):
        say(line)
    say(f"report       {folder / 'report.html'}")
    return 0


def _compare(chosen: argparse.Namespace) -> int:
    from pathlib import Path

    from flows.context import load_context, require_writable
    from flows.services.comparison import compare
    from flows.services.evidence import bring_evidence

    context = load_context(chosen.root, chosen.overrides)
    require_writable(context.paths.root)
    bring_evidence(context)
    with heartbeat("compare"):
        page, lines = compare(
            context, chosen.first, chosen.second, chosen.out and Path(chosen.out),
            with_reasons=chosen.explain,
        )  # fmt: skip
    for line in lines:
        say(line)
    say(f"page         {page}")
    return 0


def _promote(chosen: argparse.Namespace) -> int:
    from flows.context import load_context, require_writable
    from flows.servers.probe import require_mlflow
    from flows.services.evidence import evidence_of_team
    from flows.services.versions import lacks_champion, promote

    context = load_context(chosen.root, chosen.overrides)
    require_writable(context.paths.root)
    require_mlflow(context.settings)
    with context.alone_with("registry"), evidence_of_team(context):
        say(promote(context, chosen.version, by=chosen.by, reason=chosen.reason))
    if lacks_champion(context):
        _register(context)
    return 0


def _import_weights(chosen: argparse.Namespace) -> int:
    from pathlib import Path

    from flows.context import load_context, require_writable
    from flows.servers.probe import require_mlflow
    from flows.services.models import import_weights, parse_shapes

    context = load_context(chosen.root, chosen.overrides)
    require_writable(context.paths.root)
    require_mlflow(context.settings)
    stated = parse_shapes(chosen.shape)
    version, folder, notes = import_weights(
        context, Path(chosen.file), chosen.family, chosen.name, stated
    )
    for note in notes:
        say(note)
    say(f"{chosen.name} version {version} is registered; its artifact is {folder}")
    return 0


def _embed(chosen: argparse.Namespace) -> int:
    from pathlib import Path

    from flows.context import load_context
    from flows.services.models import load_model
    from tessera_core.errors import InputError

    context = load_context(chosen.root, chosen.overrides)
    if chosen.repeats < 1:
        raise InputError(f"--repeats is {chosen.repeats}, expected 1 or more")
    if not 0 <= chosen.seed < 2**64:
        raise InputError(f"--seed is {chosen.seed}, expected 0 up to below 2^64")
    out = Path(chosen.out)
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file, expected a folder")
    names = [Path(tile).resolve().name for tile in chosen.tile]
    written = [f"{name}{end}" for name in names for end in ("", "_scales")]
    if twice := sorted({name for name in written if written.count(name) > 1}):
        raise InputError(
            f"two tiles would be written to {twice[0]}.npy; embed them to different folders"
        )
    from tessera_core.export.directory import Inference, embed_directory
    from tessera_core.model.artifact import best_device

    artifact = load_model(context, chosen.model, best_device())
    if chosen.bfloat16:
        artifact = artifact.in_bfloat16()
    how = Inference(dim=chosen.dim, seed=chosen.seed, repeats=chosen.repeats)
    for tile in chosen.tile:
        done = embed_directory(Path(tile), out, artifact, how, as_float=chosen.float32)
        rows, columns = done.shape
        say(f"{done.values}: {done.num_embedded:,} of {rows * columns:,} pixels have an embedding")
    return 0


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
        facts = _register(context).facts
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


def _register(context: "Context") -> "Receipt":
    from flows.adapters.versioning import version_outputs
    from flows.tasks import compare, register

    compare.fn(context)
    with context.alone_with("dvc"):
        data_versions = version_outputs(context.paths, ())
    receipt: Receipt = register.fn(context, data_versions)
    return receipt


def _audit(chosen: argparse.Namespace) -> int:
    import json

    from flows.context import load_context
    from flows.services.auditing import audit
    from flows.services.evidence import bring_evidence_or_warn
    from tessera_core.lineage.audit.certificate import HTML_NAME, render_text

    context = load_context(chosen.root, chosen.overrides)
    bring_evidence_or_warn(context)
    if chosen.pixel or chosen.export:
        return _audit_pixel(chosen, context)
    report, folder = audit(context, chosen.subject)
    if chosen.json:
        say(json.dumps(report.to_dict(), sort_keys=True, indent=1))
    else:
        say(render_text(report))
        if folder is not None:
            say(f"certificate  {folder / HTML_NAME}")
    return 0 if report.passed else 3


def _audit_pixel(chosen: argparse.Namespace, context: "Context") -> int:
    import json

    from flows.services.auditing import audit_one_pixel
    from tessera_core.lineage.audit.certificate import HTML_NAME
    from tessera_core.lineage.audit.pixel_text import render_pixel

    found, folder = audit_one_pixel(context, chosen.subject, chosen.export, chosen.pixel)
    if chosen.json:
        say(json.dumps(found.to_dict(), sort_keys=True, indent=1))
    else:
        say(render_pixel(found))
        say(f"certificate  {folder / HTML_NAME}")
    return 0 if found.audit.passed else 3


if __name__ == "__main__":
    sys.exit(main())
