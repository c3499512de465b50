"""What the ranks report, as the process hears it that started them."""

import json
import signal
import sys
import time

import pytest

from tessera_core import errors
from tessera_core.errors import ArtifactError, TesseraError, TrainingError
from tessera_core.pretrain import launch
from tessera_core.pretrain.launch import LineTracker, _pass_on, started
from tessera_core.testing.tracker import InMemoryTracker

ALL_ERRORS = [
    one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, TesseraError)
]


@pytest.fixture
def report(tmp_path):
    """A file that one process appends to while another reads on: (tracker of the first, reader)."""
    path = tmp_path / "report.jsonl"
    with path.open("a", encoding="utf-8") as written, path.open(encoding="utf-8") as lines:
        yield LineTracker(written), lines


def heard(lines, tracker=None):
    """Return what a tracker is told of the lines that are new."""
    tracker = tracker or InMemoryTracker()
    _pass_on(lines, tracker)
    return tracker.metrics


def test_numbers_arrive_at_once_in_their_order_with_every_digit(report):
    tracker, lines = report

    tracker.log_metrics(3, {"loss/total": 0.1 + 0.2, "lr": 1e-30})
    first = heard(lines)
    tracker.log_metrics(4, {"loss/total": 2.5})
    tracker.log_metrics(5, {"loss/total": 2.25})
    second = heard(lines)

    assert first == [(3, {"loss/total": 0.1 + 0.2, "lr": 1e-30})]
    assert second == [(4, {"loss/total": 2.5}), (5, {"loss/total": 2.25})]
    assert heard(lines) == []


def test_half_a_line_waits_for_its_other_half(tmp_path):
    path, line = tmp_path / "report.jsonl", '{"step": 3, "metrics": {"lr": 0.5}}\n'
    path.write_text(line + line[:9])

    with path.open(encoding="utf-8") as lines:
        early = heard(lines)
        still = heard(lines)
        with path.open("a") as written:
            written.write(line[9:])
        late = heard(lines)

    assert early == late == [(3, {"lr": 0.5})]
    assert still == []


@pytest.mark.parametrize("kind", ALL_ERRORS)
def test_an_error_of_rank_0_becomes_the_same_error_here(report, kind):
    tracker, lines = report
    tracker.say({"error": kind.__name__, "message": "it was 'so' at step 3"})

    with pytest.raises(kind, match=r"^it was 'so' at step 3$") as caught:
        heard(lines)

    assert caught.type is kind


def test_what_was_reported_before_an_error_is_passed_on(report):
    tracker, lines = report
    tracker.log_metrics(3, {"lr": 0.5})
    tracker.say({"error": "TrainingError", "message": "the loss is nan"})
    told = InMemoryTracker()

    with pytest.raises(TrainingError):
        heard(lines, told)

    assert told.metrics == [(3, {"lr": 0.5})]


def test_a_rank_reports_numbers_and_nothing_else(report):
    tracker, lines = report

    tracker.log_params({"seed": 3})
    tracker.set_tags({"a": "b"})
    tracker.log_metrics(3, {"lr": 0.5})

    assert [json.loads(line) for line in lines] == [{"step": 3, "metrics": {"lr": 0.5}}]


SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_processes_are_gone_when_the_block_ends():
    with started(SLEEP) as process:
        assert process.poll() is None

    assert process.poll() is not None


def test_processes_are_gone_when_the_block_fails():
    with pytest.raises(ArtifactError), started(SLEEP) as process:
        raise ArtifactError("refused")

    assert process.poll() is not None


def test_processes_that_do_not_hear_are_killed(monkeypatch, tmp_path):
    monkeypatch.setattr(launch, "GRACE_S", 0.2)
    ready = tmp_path / "ready"
    deaf = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    )

    with started([sys.executable, "-c", deaf]) as process:
        end = time.monotonic() + 20
        while not ready.exists():
            assert time.monotonic() < end
            time.sleep(0.01)

    assert process.returncode == -signal.SIGKILL


def test_a_process_that_ended_by_itself_keeps_its_exit_code():
    with started([sys.executable, "-c", "raise SystemExit(3)"]) as process:
        process.wait(timeout=20)

    assert process.returncode == 3
