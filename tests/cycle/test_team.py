"""Two checkouts, one MLflow server, one DVC remote: each knows what the other did.

Only this covers a second clone's whole way: retrain against another's champion, promote, audit,
rebuild; the rules of the exchange itself are in tests/flows/test_evidence.py.
"""

import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cycle.conftest import TIME_LIMIT_S, dvc, environment_of, tessera
from tests.cycle.test_kill_resume import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

OWN_DATA = ("scenes", "samples", "quality", "shards")
"""What the second checkout is spared to make again; its lineage starts empty."""

OTHER = ("--set", "pretrain.seed=98")
START_LIMIT_S = 180.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The team's MLflow server, which keeps the artifacts, too."""
    home, port = tmp_path / "server", free_port()
    home.mkdir()
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
            "--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--artifacts-destination",
            str(home / "artifacts"), "--workers", "1",
        ],
        cwd=home, env=environment_of(home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        limit = time.monotonic() + START_LIMIT_S
        while not answers(f"{address}/health"):
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < limit, "the server does not answer"
            time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=60)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def at(server: str, checkout: Path) -> Callable[..., str]:
    """Return the ``tessera`` command of a checkout that works with the team's server."""

    def run(*words: str) -> str:
        result = subprocess.run(
            [sys.executable, "-m", "flows.cli.main", *words],
            cwd=checkout, capture_output=True, text=True, timeout=2 * TIME_LIMIT_S,
            env={**environment_of(checkout), "MLFLOW_TRACKING_URI": server},
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert result.returncode == 0, f"{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
        return result.stdout + result.stderr

    return run


def clone(first: Path, target: Path) -> Path:
    """A second clone of the repository, with scenes and samples of its own."""
    subprocess.run(["git", "clone", "-q", first, target], check=True, timeout=120)
    for name in OWN_DATA:
        shutil.copytree(first / "data" / name, target / "data" / name)
    (target / "data" / "receipts").mkdir()
    for stage in ("ingest", "quality", "shuffle"):
        shutil.copy(first / "data" / "receipts" / f"{stage}.json", target / "data" / "receipts")
    return target


def test_a_second_clone_registers_promotes_audits_and_rebuilds_on_what_the_first_did(
    copied: Path, tmp_path: Path, server: str
) -> None:
    second = clone(copied, tmp_path / "second")
    here, there = at(server, copied), at(server, second)
    here("rebuild-tracking")
    for checkout in (copied, second):
        dvc(checkout, "remote", "add", "-q", "-d", "team", str(tmp_path / "team"))
    here("register")
    here("sync")
    dvc(copied, "push")

    retrained = there("retrain", *OTHER)
    dvc(second, "push")
    champion = "1" if "version 2 is challenger" in retrained else "2"
    other = "2" if champion == "1" else "1"
    promoted = there("promote", other, "--by", "Ben", "--reason", "seams")
    back = here("promote", champion, "--by", "Ann", "--reason", "no seams")
    audits = [run("audit", f"tessera/{number}") for run in (here, there) for number in "12"]
    rebuilt = [run("rebuild-tracking") for run in (here, there)]
    # The server is lost: a checkout restores all of it, also what it never made itself.
    restored = tessera(copied, "rebuild-tracking").stdout
    shutil.rmtree(second / ".mlflow", ignore_errors=True)
    anew = tessera(second, "rebuild-tracking").stdout

    assert f"before it version {champion}: Ben decided: seams" in promoted
    assert f"before it version {other}: Ann decided: no seams" in back
    assert all("verdict   PASSED" in text for text in audits)
    assert all("nothing restored" in text for text in rebuilt)
    assert "restored  tessera version 2" in restored
    assert "restored  tessera version 1" in anew
    assert "restored  tessera version 2" in anew
    assert f"tessera@champion is version {champion}" in anew
    lineages = [{p.name for p in (c / "data" / "lineage").glob("*.json")} for c in (copied, second)]
    assert lineages[0] == lineages[1]
