"""``tessera audit``: subjects, pixels and MLflow's pointers, on a real registry."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows.context import load_context
from tessera_core.records.manifest import Manifest, find_differences
from tests.unit.lineage.audit.built import COMMIT, Run
from tests.unit.lineage.audit.mapped import CENTRE, small_run

pytestmark = pytest.mark.timeout(180)

Tessera = Callable[..., tuple[int, str, str]]
EXPORT = "tessera-v1-first"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a run with a map of two tiles was registered; tests copy it."""
    folder = tmp_path_factory.mktemp("whole")
    run = small_run(folder).cycle()
    (folder / ".mlflow").mkdir()
    uri = f"sqlite:///{folder / '.mlflow' / 'mlflow.db'}"
    client = MlflowClient(uri, registry_uri=uri)
    client.create_registered_model("tessera")
    tags = {
        "tessera.model_digest": Manifest.read(run.paths.model).digest,
        "tessera.receipt.pretrain": run.receipts["pretrain"],
        "tessera.receipt.evaluate": run.receipts["evaluate"],
        "tessera.git_commit": COMMIT,
        "tessera.git_dirty": "false",
        "tessera.simulated": "false",
        "tessera.config_digest": "f" * 64,
        "tessera.reasons": "first version: there is no champion yet",
    }
    client.create_model_version("tessera", source=folder.as_uri(), tags=tags)
    client.set_registered_model_alias("tessera", "champion", "1")
    return folder


@pytest.fixture
def run(root: Path, whole: Path) -> Run:
    """The same run in the test's own checkout, with its registry."""
    shutil.copytree(whole, root, dirs_exist_ok=True)
    return Run(root=root)


@pytest.fixture
def client(tessera: Tessera, root: Path, run: Run) -> MlflowClient:
    """MLflow as register left it."""
    uri = load_context(root).settings.mlflow_tracking_uri
    return MlflowClient(uri, registry_uri=uri)


def findings(said: str, grade: str) -> list[str]:
    report = json.loads(said)
    return [each["artefact"] for each in report["findings"] if each["grade"] == grade]


@pytest.mark.parametrize(
    "subject",
    [[], ["1"], ["tessera/1"], ["tessera@champion"], ["tessera"], [EXPORT],
     [f"data/exports/{EXPORT}"]],
)  # fmt: skip
def test_a_sound_subject_passes_without_a_finding(
    tessera: Tessera, client: MlflowClient, root: Path, subject: list[str]
) -> None:
    code, said, _ = tessera("audit", *subject, "--json")

    report = json.loads(said)
    assert (code, report["findings"]) == (0, [])
    folders = list((root / "data" / "audits").glob("*"))
    assert len(folders) == len(subject)
    for folder in folders:
        assert folder.name.endswith(report["start"][:12])
        assert (folder / "certificate.html").is_file()


def test_an_edited_tag_and_a_replaced_alias_fail_and_are_named(
    tessera: Tessera, client: MlflowClient
) -> None:
    client.set_model_version_tag("tessera", "1", "tessera.git_commit", "0" * 40)
    edited = tessera("audit", "1", "--json")
    client.set_model_version_tag("tessera", "1", "tessera.git_commit", COMMIT)
    client.create_model_version("tessera", source="elsewhere")
    client.set_registered_model_alias("tessera", "champion", "2")
    replaced = tessera("audit", "1", "--json")

    assert (edited[0], replaced[0]) == (3, 3)
    assert findings(edited[1], "BLOCK") == ["registry tessera/1, tag tessera.git_commit"]
    assert findings(replaced[1], "BLOCK") == ["registry tessera, alias champion"]


@pytest.mark.parametrize("fate", ["deleted", "overwritten"])
def test_without_the_database_all_else_is_verified_and_none_is_made(
    client: MlflowClient, root: Path, repo: Path, fate: str
) -> None:
    database = root / ".mlflow" / "mlflow.db"
    database.unlink()
    if fate == "overwritten":
        database.write_bytes(b"no database" * 1000)

    # In a process of its own: MLflow keeps the database open that it once opened.
    command = [sys.executable, "-m", "flows.cli.main", "audit", "--root", str(root)]
    verified, refused = (
        subprocess.run(
            [*command, *words], cwd=repo, capture_output=True, text=True, timeout=120, check=False
        )
        for words in ([EXPORT, "--json"], ["tessera@champion"])
    )

    # One that is not there has no alias; one that cannot be read has not said so.
    assert (verified.returncode, refused.returncode) == (0, 2)
    assert ("is damaged" in refused.stderr) == (fate == "overwritten")
    grade = "WARN" if fate == "overwritten" else "NOTE"
    assert findings(verified.stdout, grade) == ["registry"]
    assert len(json.loads(verified.stdout)["steps"]) == 7
    assert database.is_file() == (fate == "overwritten")


def test_a_registry_that_does_not_answer_is_warned_of_and_not_called_gone(
    tessera: Tessera, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")

    code, said, _ = tessera("audit", "--json")

    assert (code, findings(said, "WARN")) == (0, ["registry"])
    assert "gone" not in said


def test_a_lock_that_names_an_unknown_receipt_fails(
    tessera: Tessera, client: MlflowClient, root: Path
) -> None:
    (root / "dvc.lock").write_text(
        "schema: '2.0'\nstages:\n  ingest:\n    cmd: x\n    outs:\n"
        "    - path: data/receipts/ingest.json\n      md5: 0123\n",
        encoding="utf-8",
    )

    code, said, _ = tessera("audit", "--json")

    assert code == 3
    assert findings(said, "BLOCK") == ["dvc.lock, ingest, data/receipts/ingest.json"]


@pytest.mark.parametrize(
    "content", ["", "stages: []\n", "- a\n", "stages: {ingest: 5}\n", "a: [\n"]
)
def test_a_lock_that_is_none_fails_with_its_name(
    tessera: Tessera, client: MlflowClient, root: Path, content: str
) -> None:
    (root / "dvc.lock").write_text(content, encoding="utf-8")

    code, said, _ = tessera("audit", "--json")

    assert code == 3
    assert findings(said, "BLOCK") == ["dvc.lock"]


def test_a_lock_that_is_gone_is_a_note_where_dvc_versions_the_data(
    tessera: Tessera, client: MlflowClient, root: Path
) -> None:
    (root / ".dvc").mkdir()

    code, said, _ = tessera("audit", "--json")

    assert (code, findings(said, "NOTE")) == (0, ["dvc.lock"])


def test_a_pixel_is_answered_for_with_a_certificate_and_what_cannot_be_is_refused(
    tessera: Tessera, run: Run, root: Path
) -> None:
    at = ("--pixel", *CENTRE, "--export")
    code, said, _ = tessera("audit", *at, EXPORT)
    as_json = tessera("audit", *at, EXPORT, "--json")
    refused = [
        tessera("audit", *at, "nothing"),
        tessera("audit", "--pixel", -70.5, -33, "--export", EXPORT),
        tessera("audit", "--pixel", *CENTRE),
        tessera("audit", "--export", EXPORT),
        tessera("audit", EXPORT, *at, EXPORT),
    ]
    (folder,) = (root / "data" / "audits").iterdir()
    passed = (folder / "certificate.html").read_text("utf-8")
    (run.paths.samples / "tile=a/window=2022/scenes.parquet").write_bytes(b"none")
    broken = tessera("audit", *at, EXPORT)

    assert code == 0
    assert f"certificate  {folder / 'certificate.html'}" in said
    assert json.loads(as_json[1])["years"]
    for shown in ('class="chip PASSED"', "row 2, column 2 of tile a", "optical-"):
        assert shown in passed
    stored = json.loads((folder / "certificate.json").read_bytes())
    assert (stored["passed"], stored["longitude"]) == (False, CENTRE[0])
    assert 'class="chip FAILED"' in (folder / "certificate.html").read_text("utf-8")
    assert find_differences(folder, Manifest.read(folder)) == []
    assert "2022: row 2, column 2 of tile a" in said
    assert json.loads(as_json[1])["years"][0]["tile"] == "a"
    assert [each[0] for each in refused] == [2] * len(refused)
    assert broken[0] == 3


def test_a_failed_audit_of_a_subject_leaves_its_certificate(
    tessera: Tessera, client: MlflowClient, run: Run, root: Path
) -> None:
    (run.paths.exports / EXPORT / "npy/a/2022/a.npy").write_bytes(b"another map")

    code, said, _ = tessera("audit", EXPORT)

    (folder,) = (root / "data" / "audits").glob("*")
    assert code == 3
    assert "npy/a/2022/a.npy" in said
    assert 'class="chip FAILED"' in (folder / "certificate.html").read_text("utf-8")
