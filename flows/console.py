"""What the user reads while a run goes on, and at its end."""

import sys
from collections.abc import Mapping
from typing import Any

from tessera_core.records.evaluation import SCORED, UNSCORED
from tessera_core.stages import StageResult

STAGE_WIDTH = 9


def say(line: str = "") -> None:
    """Print a line at once; progress bars go to the other stream."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def say_stage(result: StageResult) -> None:
    """Print one line for a finished stage."""
    receipt = result.receipt
    state = "reused" if result.reused else "done"
    say(
        f"{receipt.stage:<{STAGE_WIDTH}} {state:<7} {describe(receipt.stage, receipt.facts)}"
        f"  [{receipt.digest[:12]}]"
    )
    for remark in receipt.facts.get("remarks", ()):
        say(f"{receipt.stage:<{STAGE_WIDTH}} WARNING: {remark}")


def describe(stage: str, facts: Mapping[str, Any]) -> str:
    """Return what is worth knowing about a stage's outcome in a few words."""
    match stage:
        case "ingest":
            return f"{facts['num_pixels']:,} d-pixels of {len(facts['tiles'])} tiles"
        case "quality":
            return f"{facts['verdict']}: {facts['num_rules']} rules on {facts['num_tiles']} tiles"
        case "shuffle":
            counts = facts["num_pixels"]
            return ", ".join(f"{split} {count:,}" for split, count in counts.items())
        case "pretrain":
            if facts.get("imported"):
                source = facts["imported"]
                return f"{facts['num_parameters']:,} parameters, imported as {source['family']}"
            final = facts["final"]
            return (
                f"{facts['num_parameters']:,} parameters, {facts['num_steps']} steps, "
                f"RankMe {final['rank/embedding']:.2f}"
            )
        case "evaluate":
            scored = [task for task, status in facts["status"].items() if status == SCORED]
            others = len(facts["status"]) - len(scored)
            skipped = f"; {others} skipped" if others else ""
            return f"scored {', '.join(scored) or 'nothing'}{skipped}"
        case "register":
            decision = facts["decision"]
            return f"version {facts['candidate']['version']} is {decision['alias']}"
        case "export":
            return f"{facts['num_pixels']:,} embeddings in {facts['export']}"
        case "audit":
            return f"{facts['num_files']:,} files behind the export verified"
        case _:
            return ""


def say_summary(summary: Mapping[str, Any]) -> None:
    """Print the end of a run: who is champion and why, how it scores, where everything is."""
    say()
    version = f"{summary['model_name']} version {summary['version']}"
    champion = summary["champion"]
    nobody = "" if champion else ", and there is no champion: nothing is exported"
    say(f"{version} is {summary['alias']}{nobody}: {'; '.join(summary['reasons'])}")
    if champion and champion.get("unscored"):
        say(f"the champion, version {champion['version']}, is {UNSCORED}")
    if summary["simulated"]:
        say("simulated scenes: these numbers prove the machinery, not the science")
    elif champion and champion["simulated"]:
        say(
            f"WARNING: the champion, version {champion['version']}, was trained on simulated "
            "scenes and has embedded your real ones. Give their model a name of its own: "
            "--set register.model_name=NAME"
        )
    for task, scores in summary["scores"].items():
        say(f"{task}: {summary['standings'][task]}")
        for name, text in scores.items():
            say(f"  {name:<24} {text}")
    from tessera_core.benchmarks.sources import NO_DATA

    absent = [task for task, reason in summary["skipped"].items() if reason.startswith(NO_DATA)]
    for task, reason in summary["skipped"].items():
        if task not in absent:
            say(f"{task}: skipped, {reason}")
    if absent:
        have = "benchmark has" if len(absent) == 1 else "benchmarks have"
        say(
            f"{len(absent)} declared {have} no data here ({', '.join(absent)}): "
            "see docs/how-to/benchmarks.md"
        )
    say()
    say(f"embeddings   {summary['export'] or 'none, for want of a champion'}")
    say(f"report       {summary['report']}")
    say(f"certificate  {summary['certificate']}: {summary['verdict']}")
    say("to look      make ui")
    if not champion:
        say(
            f"to overrule  tessera promote {summary['version']} --by NAME --reason TEXT, with the "
            "same --set; then tessera retrain again"
        )


def complain(message: str) -> None:
    """Print an error for the user."""
    sys.stderr.write(f"tessera: {message}\n")


def note(message: str) -> None:
    """Tell the user what is no error and no result, so not on the stream of the results."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()
