"""Commands about versions: benchmark, compare, promote."""

import argparse

from flows.cli.cycle import register
from flows.cli.parsers import OR_ARTIFACT, SUBJECT, Commands, add_command, add_subject
from flows.console import say


def add_version_commands(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add them all."""
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
        register(context)
    return 0
