"""What the user reads while a run goes on, and at its end."""

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from tessera_core.benchmarks.config import QUICK
from tessera_core.records.evaluation import SCORED, UNSCORED
from tessera_core.stages import StageResult

STAGE_WIDTH: Final = 9

MAX_REASONS: Final = 3
"""Reasons of a decision that a summary shows; certificate and registry have all."""

HEARTBEAT_S: Final = 30.0
"""Seconds between two lines of what takes long, where no progress bar can be drawn."""


def say(line: str = "") -> None:
    """Print a line at once; progress bars go to the other stream.

    When nobody reads any more, as after ``| head``, the work goes on in silence.
    """
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def heartbeat(what: str, every_s: float = HEARTBEAT_S) -> Iterator[None]:
    """Say from time to time that something still runs, in pipes and logs; terminals have bars."""
    if sys.stderr.isatty():
        yield
        return
    is_over, began = threading.Event(), time.monotonic()

    def beat() -> None:
        while not is_over.wait(every_s):
            note(f"{what:<{STAGE_WIDTH}} running for {_elapsed(time.monotonic() - began)}")

    thread = threading.Thread(target=beat, name=f"heartbeat of {what}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def say_stage(result: StageResult, seconds: float = 0.0) -> None:
    """Print one line for a finished stage, with its time where it took a second or more."""
    receipt = result.receipt
    state = "reused" if result.reused else "done"
    took = f", {_elapsed(seconds)}" if seconds >= 1 and not result.reused else ""
    say(
        f"{receipt.stage:<{STAGE_WIDTH}} {state:<7} {describe(receipt.stage, receipt.facts)}{took}"
        f"  [{receipt.digest[:12]}]"
    )
    for remark in receipt.facts.get("remarks", ()):
        say(f"{receipt.stage:<{STAGE_WIDTH}} WARNING: {remark}")


def describe(stage: str, facts: Mapping[str, Any]) -> str:
    """Return what is worth knowing about a stage's outcome in a few words."""
    match stage:
        case "ingest":
            num_tiles = len(facts["tiles"])
            tiles = f"{num_tiles} {_plural('tile', num_tiles)}"
            return f"{facts['num_pixels']:,} d-pixels of {tiles}"
        case "quality":
            tiles = f"{facts['num_tiles']} {_plural('tile', facts['num_tiles'])}"
            return f"{facts['verdict']}: {facts['num_rules']} rules on {tiles}"
        case "shuffle":
            counts = facts["num_pixels"]
            return ", ".join(f"{split} {counts[split]:,}" for split in sorted(counts))
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
    """Print the end of a run on one screen: the decision, a line per task, where everything is."""
    say()
    version = f"{summary['model_name']} version {summary['version']}"
    champion = summary["champion"]
    nobody = "" if champion else ", and there is no champion: nothing is exported"
    first, *others = summary["reasons"]
    say(f"{version} is {summary['alias']}{nobody}: {first}")
    for reason in others[: MAX_REASONS - 1]:
        say(f"  {reason}")
    if (left := len(summary["reasons"]) - MAX_REASONS) > 0:
        say(f"  and {left} more {_plural('reason', left)}, in the certificate")
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
    for task, sentence in summary["standings"].items():
        # The best baseline stands in the first clause; the report has the others.
        say(f"{task}: {sentence.partition(';')[0]}")
    if summary["methods"] == QUICK:
        say("scored by the quick set of methods; --set evaluate.methods=full asks all of them")
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


def _elapsed(seconds: float) -> str:
    """Return a duration as ``1:05``, minutes and seconds, or ``1:00:00`` from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


def complain(message: str) -> None:
    """Print an error for the user."""
    sys.stderr.write(f"tessera: {message}\n")


def note(message: str) -> None:
    """Tell the user what is no error and no result, so not on the stream of the results."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()
