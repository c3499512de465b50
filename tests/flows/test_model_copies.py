"""Copies of a registered model: a damaged one is noticed, never kept, replaced where it can be."""

from pathlib import Path

import numpy as np
import pytest

from flows.adapters.registry import MlflowRegistry
from flows.context import Context, load_context
from tessera_core.model.artifact import CANARIES_NAME
from tessera_core.records.manifest import Manifest, find_differences, write_manifest

pytestmark = pytest.mark.timeout(180)


def context(root: Path) -> Context:
    return load_context(root)


def stored_artifact(root: Path, name: str) -> Path:
    """The artifact as the registry keeps it."""
    found = [path.parent for path in (root / ".mlflow" / "artifacts").rglob(CANARIES_NAME)]
    assert len(found) == 1, name
    return found[0]


def flip(path: Path) -> None:
    """Change one byte."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def is_whole(folder: Path) -> bool:
    return find_differences(folder, Manifest.read(folder)) == []


def test_a_registered_model_whose_canary_misses_is_refused(
    imported: str, tessera, root: Path, tile: Path, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    folder = stored_artifact(root, imported)
    arrays = load_file(folder / CANARIES_NAME)
    arrays["codes"] = -arrays["codes"]
    save_file(arrays, folder / CANARIES_NAME)
    before = Manifest.read(folder)
    changed = write_manifest(folder, before.kind, before.facts)
    registry = MlflowRegistry(context(root).settings, imported, run_id="")
    registry._client.set_model_version_tag(imported, "1", "tessera.model_digest", changed.digest)

    code, _, complaint = tessera(
        "embed", "--model", imported, "--tile", tile, "--out", tmp_path / "out"
    )

    assert code == 2
    assert "a canary misses" in complaint
    assert not (tmp_path / "out").exists()


def test_a_registered_model_that_is_not_what_its_tag_says_is_refused_and_not_kept(
    imported: str, tessera, root: Path, tile: Path, tmp_path: Path
) -> None:
    folder = stored_artifact(root, imported)
    before = Manifest.read(folder)
    write_manifest(folder, before.kind, {**before.facts, "note": "changed"})
    words = ("embed", "--model", imported, "--tile", tile, "--out", tmp_path / "out")

    code, _, complaint = tessera(*words)
    write_manifest(folder, before.kind, before.facts)
    mended, *_ = tessera(*words)

    assert code == 2
    assert "version 1 of student does not hold the model" in complaint
    assert mended == 0


def test_a_version_that_does_not_say_its_model_is_refused(
    imported: str, tessera, root: Path, tile: Path, tmp_path: Path
) -> None:
    registry = MlflowRegistry(context(root).settings, imported, run_id="")
    registry._client.delete_model_version_tag(imported, "1", "tessera.model_digest")

    code, _, complaint = tessera(
        "embed", "--model", imported, "--tile", tile, "--out", tmp_path / "out"
    )

    assert code == 2
    assert "version 1 of student has no digest in its tags" in complaint
    assert not context(root).paths.model_cache.exists()


def test_a_damaged_import_is_made_again(imported: str, tessera, root: Path, checkpoint) -> None:
    (folder,) = (root / "data" / "imported").iterdir()
    flip(folder / "encoder.safetensors")

    code, said, _ = tessera(
        "import-weights", checkpoint, "--family", "v2-student", "--name", imported
    )

    assert code == 0
    assert "student version 1 is registered" in said
    assert is_whole(folder)


def test_a_damaged_cached_copy_is_fetched_again(
    imported: str, tessera, root: Path, tile: Path, tmp_path: Path
) -> None:
    words = ("embed", "--model", imported, "--tile", tile, "--out")
    tessera(*words, tmp_path / "before")
    (folder,) = context(root).paths.model_cache.iterdir()
    flip(folder / "encoder.safetensors")

    code, *_ = tessera(*words, tmp_path / "after")

    assert code == 0
    assert is_whole(folder)
    before, after = (np.load(tmp_path / out / "33UXP.npy") for out in ("before", "after"))
    assert np.array_equal(before, after)


def test_a_damaged_registered_copy_blocks_no_other_version(
    imported: str, tessera, root: Path, tile: Path, tmp_path: Path
) -> None:
    flip(stored_artifact(root, imported) / "encoder.safetensors")

    code, _, complaint = tessera(
        "embed", "--model", imported, "--tile", tile, "--out", tmp_path / "out"
    )

    assert code == 2
    assert "does not hold the model" in complaint
    assert list(context(root).paths.model_cache.iterdir()) == []
