"""Runs, audits and kills at the same time, as real processes: no half-truth, no lost receipt."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cycle.conftest import TIME_LIMIT_S, environment_of, make_checkout, run_in, tessera

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1800)]

REGISTRY = """
import json
from flows.context import load_context
from mlflow import MlflowClient
client = MlflowClient(load_context(".").settings.mlflow_tracking_uri)
versions = client.search_model_versions("name = 'tessera'")
print(json.dumps({
    "versions": sorted(int(one.version) for one in versions),
    "digests": sorted(one.tags["tessera.model_digest"] for one in versions),
    "aliases": client.get_registered_model("tessera").aliases,
    "reasons": {str(one.version): one.tags["tessera.reasons"] for one in versions},
}))
"""
POLL_S = 0.05


def start(checkout: Path, *words: str) -> "subprocess.Popen[str]":
    """Start a command in a checkout, in a group of its own that can be killed as a whole."""
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli.main", *words],
        cwd=checkout, env=environment_of(checkout), text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def finish(process: "subprocess.Popen[str]") -> str:
    """Wait for a process to end well, and return what it said."""
    try:
        said, _ = process.communicate(timeout=TIME_LIMIT_S)
    finally:
        kill(process)
    assert process.returncode == 0, said[-3000:]
    return said


def kill(process: "subprocess.Popen[str]") -> None:
    """Kill a process and all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)


def registry_of(checkout: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run_in(checkout, "-c", REGISTRY).stdout)
    return found


def lineage_of(checkout: Path, stage: str) -> list[dict[str, Any]]:
    """Return the receipts of a stage, none of which may be torn."""
    records = [json.loads(path.read_bytes()) for path in checkout.glob("data/lineage/*.json")]
    return [one for one in records if isinstance(one, dict) and one.get("stage") == stage]


def test_two_retrains_that_end_together_make_two_versions_and_one_champion(
    repo: Path, tmp_path: Path
) -> None:
    checkout = make_checkout(repo, tmp_path / "checkout")
    seeds = ("pretrain.seed=41", "pretrain.seed=42")
    running = [start(checkout, "retrain", "--set", seed) for seed in seeds]
    try:
        said = [finish(process) for process in running]
    finally:
        for process in running:
            kill(process)

    found = registry_of(checkout)
    registered = [one["facts"]["candidate"]["version"] for one in lineage_of(checkout, "register")]
    assert found["versions"] == [1, 2]
    assert found["aliases"]["champion"] in (1, 2)
    assert len(set(found["digests"])) == 2
    assert sorted(registered) == ["1", "2"]
    # Who came second was compared with who came first, although nobody served when it started.
    assert "crop_type" in found["reasons"]["2"]
    assert "first version" in found["reasons"]["1"]
    assert all("passed" in text for text in said)
    for seed in seeds:
        assert "PASSED" in tessera(checkout, "audit", "--set", seed).stdout


def test_a_retrain_killed_after_register_goes_on_and_doubles_nothing(copied: Path) -> None:
    seed = ("--set", "pretrain.seed=43")
    process = start(copied, "retrain", *seed)
    deadline = time.monotonic() + TIME_LIMIT_S
    while not list(copied.glob("data/runs/*/data/receipts/register.json")):
        assert process.poll() is None, process.communicate()[0][-3000:]
        assert time.monotonic() < deadline
        time.sleep(POLL_S)
    kill(process)
    is_exported = bool(list(copied.glob("data/runs/*/data/receipts/export.json")))
    before = registry_of(copied)

    printed = tessera(copied, "retrain", *seed).stdout

    after = registry_of(copied)
    assert not is_exported
    assert len(after["versions"]) == len(before["versions"])
    assert after == before
    assert "register  reused" in printed
    assert "PASSED" in tessera(copied, "audit", *seed).stdout
    receipts = lineage_of(copied, "register")
    assert len({one["facts"]["candidate"]["version"] for one in receipts}) == len(receipts)


def test_an_audit_beside_a_writing_export_passes_or_names_what_is_not_there(copied: Path) -> None:
    receipts = {path.name for path in copied.glob("data/lineage/*.json")}
    said: list[tuple[int, str]] = []
    for path in copied.glob("data/exports/*"):
        shutil.rmtree(path)
    writing = start(copied, "export")
    try:
        while writing.poll() is None or not said:
            audit = start(copied, "audit")
            text, _ = audit.communicate(timeout=TIME_LIMIT_S)
            said.append((audit.returncode, text))
    finally:
        finish(writing)

    for code, text in said:
        assert code in (0, 3), text[-3000:]
        assert "Traceback" not in text
        assert ("PASSED" in text) == (code == 0)
        assert code == 0 or "data/exports/" in text
    assert "PASSED" in tessera(copied, "audit").stdout
    assert receipts <= {path.name for path in copied.glob("data/lineage/*.json")}
