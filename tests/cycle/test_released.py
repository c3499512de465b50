"""A released checkpoint in the cycle: imported, scored, promoted, challenged by a retrained model.

Only here the whole cycle ends without a champion: the weights are random, so they earn nothing.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.bench.faithful.models import StudentV2
from tests.cycle.conftest import copy_checkout, tessera

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NAME = "released"
OWN_NAME = ("--set", f"register.model_name={NAME}")


@pytest.fixture(scope="module")
def checkout(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout into which a checkpoint in the released format was imported."""
    folder = copy_checkout(pristine, tmp_path_factory.mktemp("released") / "checkout")
    torch.manual_seed(1)
    torch.save(StudentV2(16, 1, 2, 24).checkpoint(), folder / "student.pt")
    arguments = ("--family", "v2-student", "--name", NAME)
    printed = tessera(folder, "import-weights", "student.pt", *arguments).stdout
    assert f"{NAME} version 1 is registered" in printed
    return folder


def test_weights_that_earn_nothing_are_not_exported_until_a_person_says_so(
    checkout: Path,
) -> None:
    (artifact,) = (checkout / "data" / "imported").glob(f"{NAME}-*")
    settings = ("--set", f"pretrain.imported={artifact.relative_to(checkout)}", *OWN_NAME)
    imported = tessera(checkout, "retrain", *settings, expect=3).stdout
    again = tessera(checkout, "retrain", *settings, expect=3).stdout
    refused = tessera(checkout, "export", *settings, expect=3).stderr
    (workspace,) = (folder for folder in (checkout / "data" / "runs").iterdir() if folder.is_dir())
    assert not list(workspace.glob("data/exports/*"))
    person = ("--by", "Ann", "--reason", "random weights, to compare with")
    tessera(checkout, "promote", "1", *person, *settings)
    exported = tessera(checkout, "export", *settings).stdout
    audited = tessera(checkout, "audit", *settings).stdout
    served = tessera(checkout, "retrain", *settings).stdout
    own = tessera(checkout, "retrain", *OWN_NAME).stdout

    assert f"{NAME} version 1 is challenger, and there is no champion" in imported
    assert (
        "it beats the untrained encoder and the answer without any encoder on no task" in imported
    )
    assert "the best baseline, " in imported
    assert "certificate.html: passed" in imported
    assert "tessera promote 1 --by NAME --reason TEXT" in imported
    assert again.count(" reused ") == 6
    assert f"{NAME} version 1 is challenger, and there is no champion" in again
    assert f"{NAME} has no champion, so there is nothing to export" in refused
    assert f"embeddings in {NAME}-v1-" in exported
    assert "PASSED" in audited
    assert "a person made version 1 champion" in audited
    assert f"{NAME} version 1 is champion: Ann decided: random weights" in served
    assert served.count(" reused ") == 7
    assert "imported as v2-student" in imported
    evaluation = (workspace / "data" / "evaluation" / "evaluation.json").read_text("utf-8")
    assert "encoder_16/linear" in evaluation, "a Matryoshka student is scored by prefix too"
    decision = own.partition(f"{NAME} version 2 is")[2].partition("simulated scenes")[0]
    assert "crop_type" in decision


def test_a_prefix_of_a_tile_is_the_start_of_the_whole(checkout: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    tile = tmp_path / "tile"
    tile.mkdir()
    days = np.arange(10, 360, 10)
    arrays = {
        "bands": rng.integers(100, 6000, (len(days), 3, 4, 10)).astype(np.uint16),
        "masks": rng.integers(0, 2, (len(days), 3, 4)).astype(np.uint8),
        "doys": days.astype(np.uint16),
        "sar_ascending": rng.integers(1000, 7000, (len(days), 3, 4, 2)).astype(np.int16),
        "sar_ascending_doy": days.astype(np.int16),
        "sar_descending": np.zeros((0, 3, 4, 2), np.int16),
        "sar_descending_doy": np.zeros(0, np.int16),
    }
    for name, array in arrays.items():
        np.save(tile / f"{name}.npy", array)

    for dim in (16, 128):
        arguments = ("--out", str(tmp_path / str(dim)), "--dim", str(dim), "--float32")
        tessera(checkout, "embed", "--model", f"{NAME}/1", "--tile", str(tile), *arguments)

    prefix, whole = (np.load(tmp_path / str(dim) / "tile.npy") for dim in (16, 128))
    assert whole.shape == (3, 4, 128)
    assert np.array_equal(prefix, whole[..., :16])
