"""What is refused before any work starts, and what is said when work should not be trusted."""

import io
import re
import socket
import sys
import threading
from pathlib import Path

import pytest

from flows.console import heartbeat, say_summary
from flows.context import load_context, require_questions, require_writable
from flows.servers.ui import require_free
from flows.settings import Settings
from tessera_core.errors import ConfigError, InputError, SceneError, StorageError

STANDING = "accuracy 50.0 % (40.0 % to 60.0 %): below the best baseline, raw series; above the mean"
SCREEN_LINES = 24

LIMIT_S = 60
"""Of every wait; a line comes within milliseconds on a quiet machine."""


class Log(io.StringIO):
    """Standard error in a file: lets a test wait for its first line."""

    def __init__(self) -> None:
        super().__init__()
        self.has_line = threading.Event()

    def write(self, text: str) -> int:
        number = super().write(text)
        self.has_line.set()
        return number


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(name.upper(), "")


def summary(**changes: object) -> dict[str, object]:
    return {
        "model_name": "tessera",
        "version": "2",
        "alias": "challenger",
        "reasons": ["scored on other labels"],
        "simulated": False,
        "champion": {"version": "1", "simulated": True},
        "standings": {"crop_type": STANDING},
        "methods": "quick",
        "skipped": {"canopy_height": "no raster"},
        "export": "exports/tessera-v1-abc",
        "report": "report.html",
        "certificate": "certificate.html",
        "verdict": "passed",
        **changes,
    }


def test_a_taken_port_is_refused_by_number() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(InputError, match=rf"port {port} is taken.*--prefect-port"):
            require_free(port)
    require_free(port)


def test_a_checkout_that_cannot_be_written_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write to .*missing.*name another checkout"):
        require_writable(tmp_path / "missing")

    require_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_label_folder_is_refused_before_the_first_stage(root: Path) -> None:
    context = load_context(root, ["evaluate.labels=nowhere"])

    with pytest.raises(SceneError, match=r"evaluate\.labels names .*nowhere"):
        require_questions(context)


def test_a_wrong_task_is_refused_before_the_first_stage(root: Path) -> None:
    context = load_context(root, ["evaluate.tasks=[crop_tipe]"])

    with pytest.raises(
        ConfigError, match=r"crop_tipe is not a benchmark.*Did you mean 'crop_type'"
    ):
        require_questions(context)


def test_real_scenes_embedded_by_a_model_of_simulated_ones_are_warned_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say_summary(summary())
    warned = capsys.readouterr().out
    say_summary(summary(champion={"version": "1", "simulated": False}))
    silent = capsys.readouterr().out

    assert "WARNING: the champion, version 1, was trained on simulated scenes" in warned
    assert "--set register.model_name=NAME" in warned
    assert "WARNING" not in silent


def test_the_summary_names_scores_skips_and_places(capsys: pytest.CaptureFixture[str]) -> None:
    say_summary(summary())

    printed = capsys.readouterr().out
    assert "tessera version 2 is challenger: scored on other labels" in printed
    assert "canopy_height: skipped, no raster" in printed
    assert "make ui" in printed
    assert f"crop_type: {STANDING.partition(';')[0]}\n" in printed
    assert "scored by the quick set of methods" in printed


def test_the_summary_of_a_run_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    reasons = [f"task {number} beats the untrained encoder" for number in range(12)]
    tasks = {f"task_{number}": STANDING for number in range(6)}

    say_summary(summary(reasons=reasons, standings=tasks))

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= SCREEN_LINES
    assert lines[1] == f"tessera version 2 is challenger: {reasons[0]}"
    assert lines[4] == "  and 9 more reasons, in the certificate"


def test_what_takes_long_says_so_in_a_log_and_no_longer_than_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Log()
    monkeypatch.setattr(sys, "stderr", log)

    with heartbeat("pretrain", every_s=0.01):
        assert log.has_line.wait(LIMIT_S)

    lines = log.getvalue().splitlines()
    assert all(re.fullmatch(r"pretrain  running for \d+:\d\d", line) for line in lines)
    assert "heartbeat of pretrain" not in {thread.name for thread in threading.enumerate()}


def test_a_terminal_has_bars_and_hears_no_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Log()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)

    with heartbeat("pretrain", every_s=0.01):
        assert "heartbeat of pretrain" not in {thread.name for thread in threading.enumerate()}

    assert terminal.getvalue() == ""


def test_a_run_without_a_champion_says_so_first_and_what_to_do_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    nobody = summary(champion=None, export=None, reasons=["crop_type loses to the mean"])

    say_summary(nobody)

    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == (
        "tessera version 2 is challenger, and there is no champion: nothing is exported: "
        "crop_type loses to the mean"
    )
    assert "embeddings   none, for want of a champion" in lines
    assert lines[-1].startswith("to overrule  tessera promote 2 --by NAME --reason TEXT")


def test_an_unscored_champion_is_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    say_summary(summary(champion={"version": "1", "simulated": False, "unscored": True}))

    assert "the champion, version 1, is unscored: no task" in capsys.readouterr().out
