"""Sweeps: the table, and whole sweeps on a real server with real stages."""

import csv
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from flows.adapters.tracking import EXPERIMENT
from flows.cli.main import main
from flows.context import load_context
from flows.services.sweep_grid import Trial
from flows.services.sweep_trials import Row, best_of, probe_score, rank, render_csv, render_table
from flows.settings import Settings
from flows.sweep import call_apart
from tessera_core.errors import TrainingError
from tessera_core.records.files import write_json
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt
from tessera_core.testing.benchmarks import lay_benchmarks
from tests.cycle.conftest import SMALL
from tests.unit.chain import record


def row(seed: int, probe: float | None, status: str = "done", error: str = "") -> Row:
    return Row(
        trial=Trial(values={"pretrain.seed": str(seed)}, refusal=""),
        status=status,
        probe=probe,
        run_id="0123456789abcdef",
        workspace=f"data/runs/{seed}",
        error=error,
    )


def test_rows_are_ranked_by_probe_score_with_unscored_ones_last() -> None:
    rows = [row(1, None, "failed"), row(2, 0.5), row(3, 0.7), row(4, 0.5), row(5, 0.0)]

    seeds = [each.trial.values["pretrain.seed"] for each in rank(rows)]

    assert seeds == ["3", "2", "4", "5", "1"]
    assert best_of(rows) == rows[2]
    assert best_of(rows[:1]) is None


def test_the_csv_keeps_every_field_of_every_trial() -> None:
    text = render_csv([row(3, 0.7), row(1, None, "failed", 'no "x", sorry')])

    first, second = csv.DictReader(io.StringIO(text))
    assert first == {
        "pretrain.seed": "3",
        "probe/accuracy": "0.700000",
        "status": "done",
        "run_id": "0123456789abcdef",
        "workspace": "data/runs/3",
        "error": "",
    }
    assert (second["probe/accuracy"], second["error"]) == ("", 'no "x", sorry')


def test_the_terminal_table_is_aligned() -> None:
    header, first, second = render_table([row(3, 0.7), row(1234567, None, "failed")])

    assert header.split() == ["seed", "probe", "status", "MLflow", "run", "workspace"]
    assert first.index("0.700") == second.index("-") == header.index("probe")


@pytest.fixture
def trained(tmp_path: Path) -> Callable[..., Paths]:
    """A function that leaves a history, and a receipt with facts, where training would."""

    def leave(history: list[dict[str, float]], **facts: object) -> Paths:
        paths = Paths(root=tmp_path, workspace=tmp_path)
        write_json(paths.training / "history.json", history)
        record(paths, "pretrain", {}, [], facts)
        return paths

    return leave


def test_the_probe_score_is_the_last_and_not_the_best(trained) -> None:
    history = [{"probe/accuracy": 0.9}, {"loss/total": 1.0}, {"probe/accuracy": 0.6}, {"lr": 0.0}]

    assert probe_score(trained(history)) == 0.6
    assert probe_score(trained(history, selected=None)) == 0.6


def test_an_encoder_that_was_selected_counts_with_its_own_score(trained) -> None:
    history = [{"probe/accuracy": 0.9}, {"probe/accuracy": 0.6}]

    assert probe_score(trained(history, selected={"step": 1, "score": 0.9})) == 0.9


def test_without_a_probe_there_is_no_score(trained) -> None:
    assert probe_score(trained([{"loss/total": 1.0}])) is None
    assert probe_score(trained([])) is None


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--grid", "shuffle.seed=1,2"], "only pretrain.* can be swept"),
        (["--grid", "pretrain.sed=1,2"], "Did you mean 'seed'?"),
        (["--grid", "pretrain.seed=-"], "expected int"),
        (["--grid", "pretrain.seed=1,2", "--concurrency", "0"], "--concurrency is 0"),
    ],
)
def test_what_cannot_start_ends_with_exit_code_2_and_leaves_nothing(
    tessera, root: Path, arguments: list[str], complaint: str
) -> None:
    before = sorted((root / "data").rglob("*"))

    code, _, said = tessera("sweep", *arguments)

    assert code == 2
    assert complaint in said
    assert sorted((root / "data").rglob("*")) == before


def test_a_call_in_a_process_of_its_own_brings_its_error_here() -> None:
    call_apart(os.getpid)

    with pytest.raises(FileNotFoundError, match="nowhere"):
        call_apart(os.chdir, "/nowhere")


def test_a_process_that_is_killed_is_an_error_and_no_endless_wait() -> None:
    with pytest.raises(TrainingError, match=r"its process was killed.*lower --concurrency"):
        call_apart(os._exit, 9)


# ------------------------------------------------------------------------------- whole sweeps


@pytest.fixture(scope="module")
def checkout(
    repo: Path, tmp_path_factory: pytest.TempPathFactory, prefect_server: None
) -> Iterator[Path]:
    """A folder that passes for a checkout, with small settings."""

    folder = tmp_path_factory.mktemp("sweep")
    params = yaml.safe_load((repo / "params.yaml").read_text(encoding="utf-8"))
    for section, values in SMALL.items():
        params[section].update(values)
    params["pretrain"] |= {"num_steps": 8, "probe_every": 8, "log_every": 8}
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    lay_benchmarks(repo, folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in Settings.model_fields:
            patch.setenv(name.upper(), "")
        yield folder


@pytest.fixture
def sweep(checkout: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """A function that runs a sweep; returns exit code and all that was said."""

    def run(*words: str) -> tuple[int, str]:
        code = main(["sweep", "--root", str(checkout), *words])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def runs_of(checkout: Path) -> dict[str, Run]:
    """Every MLflow run of the checkout by its name."""
    database = f"sqlite:///{checkout / '.mlflow' / 'mlflow.db'}"
    client = MlflowClient(database, registry_uri=database)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    runs = client.search_runs([experiment.experiment_id])
    assert len({run.info.run_name for run in runs}) == len(runs)
    return {run.info.run_name: run for run in runs}


def digest_of(checkout: Path, stage: str, *overrides: str) -> str:
    return Receipt.read(load_context(checkout, overrides).paths.receipt(stage)).digest


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_goes_on_after_a_failed_trial_and_shares_its_data(
    sweep, checkout: Path, tmp_path: Path
) -> None:
    code, said = sweep("--grid", "pretrain.seed=1,2", "--grid", "pretrain.teacher=null,nowhere")

    assert code == 1, said
    runs = runs_of(checkout)
    (parent,) = (run for name, run in runs.items() if name.startswith("sweep-"))
    children = [run for run in runs.values() if run is not parent]
    assert "2 of 4 trials did not finish" in said
    assert "nowhere" in said.splitlines()[-1]
    assert parent.info.status == "FAILED"
    assert parent.data.params["grid.pretrain.seed"] == "1, 2"
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert sorted(run.info.status for run in children) == ["FAILED"] * 2 + ["FINISHED"] * 2
    best = runs_of(checkout)[parent.info.run_name].data.metrics["best/probe/accuracy"]
    assert best == max(
        run.data.metrics["probe/accuracy"] for run in children if run.info.status == "FINISHED"
    )
    database = f"sqlite:///{checkout / '.mlflow' / 'mlflow.db'}"
    client = MlflowClient(database, registry_uri=database)
    table = client.download_artifacts(parent.info.run_id, "sweep/trials.csv", str(tmp_path))
    rows = list(csv.DictReader(io.StringIO(Path(table).read_text(encoding="utf-8"))))
    assert [each["status"] for each in rows] == ["done", "done", "failed", "failed"]
    assert parent.data.tags["tessera.sweep.best_run"] == rows[0]["run_id"]
    samples = [
        load_context(checkout, overrides).paths.samples / "manifest.json"
        for overrides in ([], ["pretrain.seed=1"], ["pretrain.seed=2"])
    ]
    assert len({path.stat().st_ino for path in samples}) == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_processes_side_by_side_give_the_digests_of_one_after_the_other(
    sweep, checkout: Path
) -> None:
    code, said = sweep("--grid", "pretrain.seed=3,4", "--concurrency", "2")
    found = {seed: digest_of(checkout, "pretrain", f"pretrain.seed={seed}") for seed in (3, 4)}
    alone = load_context(checkout, ["pretrain.seed=3"]).paths.workspace
    alone.rename(alone.with_name("aside"))

    assert code == 0, said
    assert main(["pretrain", "--root", str(checkout), "--set", "pretrain.seed=3"]) == 0
    assert digest_of(checkout, "pretrain", "pretrain.seed=3") == found[3] != found[4]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_that_is_run_again_reuses_its_trials_and_reopens_its_parent(
    sweep, checkout: Path
) -> None:
    first, said = sweep("--grid", "pretrain.seed=5,6", "--set", "pretrain.num_steps=4")
    before = runs_of(checkout)

    second, said_again = sweep("--grid", "pretrain.seed=6,5", "--set", "pretrain.num_steps=4")

    after = runs_of(checkout)
    assert (first, second) == (0, 0)
    assert said.count("pretrain  done") == 2
    assert said_again.count("pretrain  reused") == 2
    assert said_again.count("evaluate  reused") == 2
    assert before.keys() == after.keys()
    assert all(run.info.status == "FINISHED" for name, run in after.items() if "-s4-" in name)
    assert "tessera retrain --set pretrain.num_steps=4 --set pretrain.seed=" in said_again
