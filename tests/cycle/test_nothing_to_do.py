"""A run in which nothing changed leaves every byte, time and row as it was, and says so.

Only a whole cycle shows it: each stage, MLflow, DVC and the certificate have a say in it.
"""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.cycle.conftest import environment_of, tessera

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

OURS = re.compile(
    r"""
    $|workspace\ |scenes\ +simulated|nothing\ changed:|simulated\ scenes:|no\ data\ for
    |(?:ingest|quality|shuffle|pretrain|evaluate|register|export|audit)\ +(?:done|reused)\ .*\]$
    |\w+\ +running\ for\ |scored\ by\ the\ quick\ set
    |tessera\ version\ \d+\ is\ |\w+:\ (?:skipped,|.*\(-?\d[^)]*\ to\ )
    |\ \ .*\b(?:groups|allowed|size|versions|better|worse|reasons?)\b
    |\d+\ declared\ benchmarks?\ ha
    |(?:embeddings|report|certificate)\ +/|to\ look\ +make
    |(?:quote|outturn):\ \d+\ steps\ |tessera:\ waiting\ for\ the\ \w+\ lock
    """,
    re.VERBOSE,
)
"""Every line that a run prints."""

LOCKS = re.compile(r"\.\w+\.lock$")
"""Lock files are opened by whoever takes the lock."""

HOLDER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
database.execute("begin exclusive")
print("held", flush=True)
sys.stdin.read()
"""


def state_of(checkout: Path) -> dict[str, object]:
    """Return content and time of every file that a run makes, and every row of MLflow."""
    files = [
        checkout / "dvc.lock",
        *(checkout / "data").rglob("*"),
        *checkout.glob(".mlflow/a*/**/*"),
    ]
    state: dict[str, object] = {
        path.relative_to(checkout).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in files
        if path.is_file() and not LOCKS.search(path.name)
    }
    with closing(sqlite3.connect(checkout / ".mlflow" / "mlflow.db")) as database:
        tables = database.execute("select name from sqlite_master where type = 'table'").fetchall()
        for (table,) in tables:
            rows = database.execute(f'select * from "{table}"')  # names are the database's own
            state[f"table {table}"] = sorted(map(repr, rows))
    return state


def changed(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """Return what differs between two states."""
    return sorted(name for name in before | after if before.get(name) != after.get(name))


def foreign(result: "subprocess.CompletedProcess[str]") -> list[str]:
    """Return the lines of a run that are not ours."""
    # tqdm redraws its line; what it leaves behind at the end is what one sees.
    said = f"{result.stdout}\n{result.stderr}".replace("\r", "\n").splitlines()
    return [line for line in said if not OURS.match(line)]


@contextmanager
def held(database: Path) -> Iterator[None]:
    """Have another process hold a database for itself."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(database)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)


def test_a_run_with_nothing_to_do_touches_nothing_and_says_so(checkout: Path) -> None:
    tessera(checkout, "retrain")  # a copy's files are new to DVC
    before = state_of(checkout)

    result = tessera(checkout, "retrain")

    assert changed(before, state_of(checkout)) == []
    assert "nothing changed: the receipts of all 8 stages" in result.stdout
    assert "champion is tessera version 1" in result.stdout
    assert foreign(result) == []


def flow_runs(checkout: Path) -> int:
    """Return how many flow runs Prefect has seen."""
    with closing(sqlite3.connect(checkout / ".prefect" / "prefect.db")) as database:
        (number,) = database.execute("select count(*) from flow_run").fetchone()
    return int(number)


def test_what_a_run_would_mend_is_mended_and_what_it_would_refuse_is_refused(
    checkout: Path,
) -> None:
    tessera(checkout, "retrain")
    settled = flow_runs(checkout)
    tessera(checkout, "retrain")
    assert flow_runs(checkout) == settled  # Prefect was not even started

    client = MlflowClient(f"sqlite:///{checkout / '.mlflow' / 'mlflow.db'}")
    promotions = client.get_experiment_by_name("tessera-promotion")
    assert promotions is not None
    (decision,) = client.search_runs([promotions.experiment_id])
    client.delete_run(decision.info.run_id)
    (checkout / "data" / "quality" / "report.json").unlink()

    mended = tessera(checkout, "retrain").stdout

    assert "quality   done" in mended
    assert len(client.search_runs([promotions.experiment_id])) == 1
    assert flow_runs(checkout) > settled

    receipt = json.loads((checkout / "data" / "receipts" / "evaluate.json").read_bytes())
    archived = checkout / "data" / "lineage" / f"{receipt['upstream']['pretrain']}.json"
    whole = archived.read_bytes()
    archived.write_bytes(whole.replace(b'"seed":', b'"sead":', 1))

    refused = tessera(checkout, "retrain", expect=3)

    archived.write_bytes(whole)
    tessera(checkout, "retrain")

    assert "does not hash to its name" in refused.stderr


def test_a_new_version_that_stays_challenger_embeds_nothing_again(
    checkout: Path, tmp_path: Path
) -> None:
    settings = (
        "pretrain.seed=98", "evaluate.tasks=[land_cover]",
        "register.max_size_ratio=0.5",  # no version of the same size may take over
    )  # fmt: skip
    setting = [word for one in settings for word in ("--set", one)]
    (published,) = checkout.glob("data/exports/*/manifest.json")
    nowhere = tmp_path / "a file"
    nowhere.touch()
    environment = {
        # A library that cannot keep its cache, or has none yet, warns and says what it does.
        **environment_of(checkout), "HOME": str(tmp_path), "MPLCONFIGDIR": str(nowhere / "mpl"),
    }  # fmt: skip

    result = subprocess.run(
        [sys.executable, "-m", "flows.cli.main", "retrain", *setting],
        cwd=checkout, env=environment, capture_output=True, text=True, timeout=900, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip

    assert result.returncode == 0, result.stderr[-3000:]
    assert "tessera version 2 is challenger" in result.stdout
    assert foreign(result) == []
    (shared,) = checkout.glob("data/runs/*/data/exports/*/manifest.json")
    assert shared.samefile(published)
    before = state_of(checkout)
    again = tessera(checkout, "retrain", *setting)
    assert changed(before, state_of(checkout)) == []
    assert "champion is tessera version 1" in again.stdout


def test_a_new_workspace_benchmarks_a_version_on_the_samples_of_the_checkout(
    checkout: Path, tmp_path: Path
) -> None:
    said = tessera(
        checkout, "benchmark", "tessera/1", "--task", "canopy_height",
        "--set", f"evaluate.benchmark_data={tmp_path}",
    ).stdout  # fmt: skip

    assert "canopy_height: " in said
    assert "best baseline, " in said
    assert "report.html" in said


def test_a_locked_or_full_database_ends_in_one_sentence(checkout: Path) -> None:
    promote = ("promote", "1", "--by", "Ann", "--reason", "locked")
    tessera(checkout, "settings")  # a copied checkout says once that it has moved
    with held(checkout / ".mlflow" / "mlflow.db"):
        locked = tessera(checkout, *promote, expect=1)
    limited = subprocess.run(
        ["bash", "-c", 'ulimit -f 8; exec "$@"', "bash", sys.executable, "-B",
         "-m", "flows.cli.main",
         "simulate", "--set", "simulate.path=data/other-scenes"],
        cwd=checkout, env=environment_of(checkout), capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip

    # While it waits for the other process, it gives a sign of life.
    said = [line for line in locked.stderr.splitlines() if "running for" not in line]
    assert len(said) == 1
    assert said[0].startswith("tessera: another process holds a database of ")
    assert limited.returncode == 2
    assert limited.stderr.startswith("tessera: cannot write ")
    assert len(limited.stderr.splitlines()) == 1
    assert not (checkout / "data" / "other-scenes").exists()
    shutil.rmtree(checkout / "data" / "runs", ignore_errors=True)
