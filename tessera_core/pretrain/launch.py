"""Start the ranks of a training on this machine, and pass on what the first of them reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import yaml

from tessera_core import errors
from tessera_core.errors import TesseraError, TrainingError
from tessera_core.ports import NullTracker, Tracker
from tessera_core.pretrain.checkpoint import resume_point, sole_owner
from tessera_core.pretrain.job import checkpoint_policy, train_job
from tessera_core.pretrain.ranks import joined

if TYPE_CHECKING:
    from tessera_core.config import PlatformConfig
    from tessera_core.records.paths import Paths

POLL_S = 0.5
GRACE_S = 30.0
STANDARD_INPUT = 0


class LineTracker(NullTracker):
    """Writes numbers as lines of JSON, for the process that started the ranks."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write one line."""
        self.say({"step": step, "metrics": dict(metrics)})

    def say(self, line: Mapping[str, Any]) -> None:
        """Write a line so that the reader sees it now."""
        self._file.write(f"{json.dumps(line)}\n")
        self._file.flush()


def train_as_rank(config: PlatformConfig, paths: Paths, report: Path | None) -> None:
    """Train as one of the processes that torchrun started; leaves a finished checkpoint.

    Args:
        config: All settings.
        paths: Where shards and checkpoints are.
        report: File that rank 0 writes its numbers to, or None for none.
    """
    if report is not None:
        end_with_parent()
    with joined(config.pretrain.num_ranks) as ranks:
        if not ranks.is_first or report is None:
            train_job(config, paths, NullTracker(), ranks)
            return
        with report.open("a", encoding="utf-8") as file:
            tracker = LineTracker(file)
            try:
                train_job(config, paths, tracker, ranks)
            except TesseraError as error:
                tracker.say({"error": type(error).__name__, "message": str(error)})
                raise


def end_with_parent() -> None:
    """End this process as soon as the one that started the ranks is gone, however it went.

    Ranks that went on alone would hold the run's folder and report to nobody. The parent holds the
    other end of standard input, which the system closes with it.
    """

    def wait() -> None:
        # Not through sys.stdin, whose lock a waiting thread would hold at the end of the process.
        os.read(STANDARD_INPUT, 1)
        # At once, as a kill would: checkpoints are made for that.
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def launch_ranks(config: PlatformConfig, paths: Paths, tracker: Tracker) -> None:
    """Train with ``pretrain.num_ranks`` processes on this machine, started by torchrun.

    Raises:
        TesseraError: What rank 0 reported.
        TrainingError: The ranks failed without a word, or the run is being trained already.
        ArtifactError: The run cannot go on from the checkpoint that there is.
    """
    # What can be refused beforehand is: many processes cannot end with one sentence.
    policy = checkpoint_policy(config, paths)
    with sole_owner(policy.folder):
        resume_point(policy)
    with tempfile.TemporaryDirectory(prefix="tessera-ranks-") as folder:
        params, report = Path(folder) / "params.yaml", Path(folder) / "report.jsonl"
        params.write_text(yaml.safe_dump(config.to_dict()), encoding="utf-8")
        report.touch()
        command = [
            sys.executable, "-m", "torch.distributed.run", "--standalone",
            f"--nproc-per-node={config.pretrain.num_ranks}", "-m", "tessera_core", "pretrain",
            "--root", str(paths.root), "--workspace", str(paths.workspace),
            "--params", str(params), "--ranks-only", "--report", str(report),
        ]  # fmt: skip
        with started(command) as process, report.open(encoding="utf-8") as lines:
            while process.poll() is None:
                time.sleep(POLL_S)
                _pass_on(lines, tracker)
            _pass_on(lines, tracker)
            if process.returncode != 0:
                raise TrainingError(
                    f"the {config.pretrain.num_ranks} training processes ended with exit code "
                    f"{process.returncode}; what they said stands above. Started again, training "
                    "goes on from its last checkpoint"
                )


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command whose process is gone when the block ends."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        # torchrun hands the signal on to its ranks.
        process.terminate()
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _pass_on(lines: TextIO, tracker: Tracker) -> None:
    """Report every whole line that is new."""
    while True:
        place = lines.tell()
        line = lines.readline()
        if not line.endswith("\n"):
            lines.seek(place)
            return
        said = json.loads(line)
        if "error" in said:
            raise getattr(errors, said["error"])(said["message"])
        tracker.log_metrics(said["step"], said["metrics"])
