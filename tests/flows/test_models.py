"""Released and registered models from the command line, with MLflow on SQLite."""

import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from flows.adapters.registry import MlflowRegistry
from flows.cli.main import main
from flows.context import Context, load_context
from flows.services.models import parse_shapes
from flows.settings import Settings
from tessera_core.errors import InputError
from tessera_core.model.family import Family
from tessera_core.records.files import digest_file
from tessera_core.records.manifest import Manifest
from tessera_core.testing.checkpoints import released_content, stated_heads, tiny_release
from tessera_core.testing.directories import write_tile_directory
from tests.flows.conftest import STUDENT, run_in
from tests.unit.model.released import tile_arrays as stored_tile

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("own_environment")]


@pytest.fixture(scope="module")
def home(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which ``student`` is registered; only to be added to."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copy(repo / "params.yaml", folder / "params.yaml")
    released = folder / "student.pt"
    torch.save(released_content(STUDENT, seed=1), released)
    with pytest.MonkeyPatch.context() as patch:
        for name in Settings.model_fields:
            patch.setenv(name.upper(), "")
        words = ["import-weights", str(released), "--family=v2-student", "--name=student"]
        assert main([*words, "--root", str(folder)]) == 0
    return folder


@pytest.fixture
def at_home(home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command line in that checkout."""
    return partial(run_in, home, capsys)


def context(root: Path) -> Context:
    return load_context(root)


def versions(root: Path, name: str) -> list[str]:
    registry = MlflowRegistry(context(root).settings, name, run_id="")
    return sorted(str(version.version) for version in registry._versions())


def imports(root: Path) -> list[str]:
    folder = root / "data" / "imported"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def artifact_of(root: Path) -> Path:
    """The artifact of the import called ``student``."""
    (folder,) = (root / "data" / "imported").glob("student-*")
    return folder


def test_a_released_checkpoint_becomes_a_registered_model_that_embeds(
    tessera, root: Path, checkpoint: Path, tile: Path, tmp_path: Path
) -> None:
    code, said, _ = tessera(
        "import-weights", checkpoint, "--family", "v2-student", "--name", "student"
    )
    embedded, told, _ = tessera(
        "embed", "--model", "student", "--tile", tile, "--out", tmp_path / "out"
    )

    assert (code, embedded) == (0, 0)
    assert "student version 1 is registered" in said
    assert "heads per layer: S2 2, S1 4" in said
    assert "WARNING" not in said
    (folder,) = imports(root)
    assert re.fullmatch(r"student-[0-9a-f]{12}", folder)
    assert "20 of 20 pixels have an embedding" in told
    codes = np.load(tmp_path / "out" / "33UXP.npy")
    scales = np.load(tmp_path / "out" / "33UXP_scales.npy")
    assert (codes.shape, codes.dtype) == ((4, 5, 128), np.int8)
    assert np.isfinite(scales).all()


def test_an_imported_artifact_says_where_its_weights_come_from(home: Path) -> None:
    manifest = Manifest.read(artifact_of(home))
    source = digest_file(home / "student.pt", home)

    assert manifest.facts["source"] == {
        "file": "student.pt",
        "sha256": source.sha256,
        "size": source.size,
    }
    registry = MlflowRegistry(context(home).settings, "student", run_id="")
    tags = next(iter(registry._versions())).tags
    assert tags["tessera.model_digest"] == manifest.digest
    assert tags["tessera.family"] == "v2-student"
    assert tags["tessera.source_sha256"] == source.sha256


def test_importing_the_same_file_twice_gives_one_version(
    imported: str, tessera, root: Path, checkpoint: Path
) -> None:
    code, said, _ = tessera(
        "import-weights", checkpoint, "--family", "v2-student", "--name", imported
    )

    assert code == 0
    assert "student version 1 is registered" in said
    assert versions(root, imported) == ["1"]


def test_other_weights_under_the_name_are_another_version(
    imported: str, tessera, root: Path, checkpoint: Path, tile: Path, tmp_path: Path
) -> None:
    torch.save(released_content(STUDENT, seed=2), checkpoint)
    code, said, _ = tessera(
        "import-weights", checkpoint, "--family", "v2-student", "--name", imported
    )
    assert code == 0
    assert "student version 2 is registered" in said

    registry = MlflowRegistry(context(root).settings, imported, run_id="")
    registry.set_alias("steady", "1", {})
    written = {}
    for reference in ("student", "student/1", "student/2", "student@steady"):
        out = tmp_path / reference.replace("/", "-")
        code, _, complaint = tessera("embed", "--model", reference, "--tile", tile, "--out", out)
        assert code == 0, complaint
        written[reference] = (out / "33UXP.npy").read_bytes()

    assert written["student"] == written["student/2"] != written["student/1"]
    assert written["student@steady"] == written["student/1"]

    registry.set_alias("champion", "1", {})
    code, *_ = tessera("embed", "--model", "student", "--tile", tile, "--out", tmp_path / "out")
    assert code == 0
    assert (tmp_path / "out" / "33UXP.npy").read_bytes() == written["student/1"]

    refused = tessera("embed", "--model", "student/2", "--tile", tile, "--out", tmp_path / "out")
    assert refused[0] == 2
    assert "those of two models do not mix. Name another folder" in refused[2]
    assert (tmp_path / "out" / "33UXP.npy").read_bytes() == written["student/1"]


def test_a_folder_with_an_artifact_embeds_as_the_registered_model_does(
    home: Path, at_home, tile: Path, tmp_path: Path
) -> None:
    folder = artifact_of(home)

    for reference, out in ((folder, "a"), ("student", "b")):
        code, _, complaint = at_home(
            "embed", "--model", reference, "--tile", tile, "--out", tmp_path / out, "--dim", 16,
            "--float32",
        )  # fmt: skip
        assert code == 0, complaint

    first, second = (np.load(tmp_path / out / "33UXP.npy") for out in ("a", "b"))
    assert first.dtype == np.float32
    assert first.shape == (4, 5, 16)
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nobody", "nobody is no registered model and no export; expected VERSION, NAME/VERSION"),
        ("student/7", "student/7 is no registered model, and no folder with an artifact"),
        ("student/one", "'student/one' is no version and no export; expected VERSION"),
        ("student@champion", "student has no alias champion; expected VERSION"),
        ("/nowhere/at/all", "'/nowhere/at/all' is no version and no export; expected VERSION"),
        ("", "'' is no version and no export; expected VERSION"),
        ("a'b", "a model's artifact may be named, too; import one with `tessera import-weights`"),
    ],
)
def test_a_model_that_is_not_there_ends_with_exit_code_2(
    reference: str, message: str, at_home, tile: Path, tmp_path: Path
) -> None:
    code, _, complaint = at_home(
        "embed", "--model", reference, "--tile", tile, "--out", tmp_path / "out"
    )

    assert code == 2
    assert message in complaint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--dim", "50"], "the first 50 values are no embedding of this model, expected one of 16"),
        (["--dim", "0"], "the first 0 values are no embedding"),
        (["--repeats", "0"], "--repeats is 0, expected 1 or more"),
        (["--repeats", "-1"], "--repeats is -1, expected 1 or more"),
    ],
)
def test_a_width_or_number_that_makes_no_sense_ends_with_exit_code_2(
    more: list[str], message: str, at_home, tile: Path, tmp_path: Path
) -> None:
    code, _, complaint = at_home(
        "embed", "--model", "student", "--tile", tile, "--out", tmp_path / "out", *more
    )

    assert code == 2
    assert message in complaint
    assert not (tmp_path / "out").exists()


def test_a_folder_that_merely_has_the_name_of_a_model_does_not_stand_in_its_way(
    at_home, tile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "student").mkdir()

    code, told, _ = at_home("embed", "--model", "student", "--tile", tile, "--out", "out")

    assert code == 0
    assert "20 of 20 pixels have an embedding" in told


def test_two_tiles_of_one_name_are_refused_before_one_overwrites_the_other(
    tessera, tile: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / tile.name
    other.mkdir(parents=True)

    code, _, complaint = tessera(
        "embed", "--model", "any", "--tile", tile, other, "--out", tmp_path / "out"
    )

    assert code == 2
    assert "two tiles would be written to 33UXP.npy" in complaint


def test_a_tile_called_as_the_scales_of_another_is_refused(
    tessera, tile: Path, tmp_path: Path
) -> None:
    other = tmp_path / f"{tile.name}_scales"
    other.mkdir()

    code, _, complaint = tessera(
        "embed", "--model", "any", "--tile", tile, other, "--out", tmp_path / "out"
    )

    assert code == 2
    assert "two tiles would be written to 33UXP_scales.npy" in complaint


def test_a_broken_tile_ends_with_exit_code_2(at_home, tile: Path, tmp_path: Path) -> None:
    (tile / "masks.npy").unlink()

    code, _, complaint = at_home(
        "embed", "--model", "student", "--tile", tile, "--out", tmp_path / "out"
    )

    assert code == 2
    assert "masks.npy is missing" in complaint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "family", "more", "message"),
    [
        (None, "v2-student", [], "is not there; name a checkpoint file"),
        (b"", "v2-student", [], "cannot read"),
        ("good", "v2-teacher", [], "is no v2-teacher checkpoint"),
        ("good", "v1.1-mpc", [], "is no v1.1-mpc checkpoint"),
        ("good", "v2-student", ["--shape", "num_heads=4"], "contradicts"),
        ("good", "v2-student", ["--shape", "num_heads"], "is not of the form name=whole number"),
        ("good", "v2-student", ["--shape", "heads=4"], "--shape heads is no shape"),
        ("NaN", "v2-student", [], "holds NaN or infinity"),
        ("missing", "v2-student", [], "missing dim_reducer.0.bias"),
    ],
)
def test_a_refused_checkpoint_registers_nothing_and_leaves_no_folder(
    content: bytes | str | None,
    family: str,
    more: list[str],
    message: str,
    tessera,
    root: Path,
    tmp_path: Path,
) -> None:
    path = tmp_path / "released.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        released = released_content(STUDENT, seed=1)
        if content == "NaN":
            released["model"]["dim_reducer.0.bias"][0] = float("nan")
        elif content == "missing":
            del released["model"]["dim_reducer.0.bias"]
        torch.save(released, path)

    code, _, complaint = tessera(
        "import-weights", path, "--family", family, "--name", "refused", *more
    )

    assert code == 2
    assert message in complaint
    assert imports(root) == []
    assert not any((root / ".mlflow").iterdir()), "the registry was not even opened"


@pytest.mark.parametrize("name", ["", "two words", "a/b", "a@b", "..", "-x", "it's", "name\n"])
def test_a_name_that_no_registry_or_folder_can_have_is_refused(
    name: str, tessera, root: Path, checkpoint: Path
) -> None:
    code, _, complaint = tessera(
        "import-weights", checkpoint, "--family", "v2-student", f"--name={name}"
    )

    assert code == 2
    assert "is no model name, expected letters, digits" in complaint
    assert imports(root) == []


def test_an_unknown_family_is_bad_usage_and_lists_the_known_ones(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["import-weights", str(checkpoint), "--family", "v3", "--name", "x"])

    assert end.value.code == 2
    assert "v2-student" in capsys.readouterr().err


def test_a_file_that_does_not_tell_its_heads_is_doubted_aloud(at_home, checkpoint: Path) -> None:
    plain = tiny_release(Family.V2_STUDENT)
    torch.save(released_content(plain, seed=1), checkpoint)
    words = ("import-weights", checkpoint, "--family", "v2-student", "--name")
    stated = [f"--shape={name}={value}" for name, value in stated_heads(plain).items()]

    _, silent, _ = at_home(*words, "stated", *stated)
    _, doubtful, _ = at_home(*words, "guessed")

    assert "tell the number of S2 heads" in doubtful
    assert "heads per layer: S2 4, S1 4" in doubtful
    assert "tell the number of S" not in silent
    assert "heads per layer: S2 2, S1 4" in silent


def test_weights_of_another_data_source_are_warned_of(at_home, tmp_path: Path) -> None:
    content = released_content(tiny_release(Family.V1_1_MPC), seed=1)
    content["config"]["data_source"] = "mpc"
    torch.save(content, tmp_path / "v1_1.pt")
    words = ("import-weights", tmp_path / "v1_1.pt", "--family")

    _, right, _ = at_home(*words, "v1.1-mpc", "--name", "right")
    _, wrong, _ = at_home(*words, "v1.1-aws", "--name", "wrong")

    assert "WARNING" not in right
    assert "WARNING: the file's own config names data source 'mpc'" in wrong


def test_shapes_are_words_of_the_form_name_and_number() -> None:
    assert parse_shapes(["num_heads=4", "s1_num_layers=12"]) == {
        "num_heads": 4,
        "s1_num_layers": 12,
    }
    for word in ("num_heads", "num_heads=", "num_heads=-1", "num_heads=x", "num_heads=4.0"):
        with pytest.raises(InputError, match=r"is not of the form name=whole number"):
            parse_shapes([word])


def test_a_shape_that_is_stated_twice_must_be_the_same() -> None:
    assert parse_shapes(["num_heads=4", "num_heads=4"]) == {"num_heads": 4}
    with pytest.raises(InputError, match="num_heads is stated twice, as 4 and as 2"):
        parse_shapes(["num_heads=4", "num_heads=2"])


@pytest.mark.parametrize(
    ("family", "stored", "array", "width"),
    [
        ("v1.1-mpc", "v1_1", "mixed.mpc", 16),
        pytest.param("v1.1-aws", "v1_1_full", "mixed.aws", 16, marks=pytest.mark.slow),
        ("v2-student", "v2_student", "mixed", 128),
        pytest.param("v2-student", "v2_student_qknorm", "mixed", 128, marks=pytest.mark.slow),
    ],
)
def test_a_released_file_and_a_raw_tile_give_the_references_codes(
    family: str, stored: str, array: str, width: int, at_home, shared_data: Path, tmp_path: Path
) -> None:
    parity = shared_data / "parity"
    golden = np.load(parity / f"{stored.removesuffix('_full')}.npz")
    folder = tmp_path / "mixed"
    write_tile_directory(folder, stored_tile(np.load(parity / "tiles.npz"), "mixed"), {})

    code, _, complaint = at_home(
        "import-weights", parity / f"{stored}.pt", "--family", family, "--name", stored
    )
    assert code == 0, complaint
    code, _, complaint = at_home(
        "embed", "--model", stored, "--tile", folder, "--out", tmp_path / "out"
    )
    assert code == 0, complaint

    codes = np.load(tmp_path / "out" / "mixed.npy")
    scales = np.load(tmp_path / "out" / "mixed_scales.npy")
    has_data = np.ones((6, 5), bool)
    has_data[2, 1] = False
    key = "" if family.startswith("v1.1") else "_128"
    expected_codes = golden[f"{array}.int8{key}"].reshape(6, 5, width)
    expected_scales = golden[f"{array}.scale{key}"].reshape(6, 5)
    steps = np.abs(codes.astype(int) - expected_codes)[has_data]
    assert codes.shape == (6, 5, width)
    assert np.array_equal(np.isfinite(scales), has_data)
    assert not codes[2, 1].any()
    assert steps.max() <= 1
    assert (steps > 0).mean() <= 0.002
    np.testing.assert_allclose(scales[has_data], expected_scales[has_data], rtol=1e-4)
