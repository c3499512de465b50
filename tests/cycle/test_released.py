"""A released checkpoint in the cycle: imported, scored, served, challenged by a retrained model."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.bench.faithful.models import StudentV2
from tests.cycle.conftest import make_checkout, tessera

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

NAME = "released"
OWN_NAME = ("--set", f"register.model_name={NAME}")


@pytest.fixture(scope="module")
def checkout(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout into which a checkpoint in the released format was imported."""
    folder = make_checkout(repo, tmp_path_factory.mktemp("released"))
    torch.manual_seed(1)
    torch.save(StudentV2(16, 1, 2, 24).checkpoint(), folder / "student.pt")
    arguments = ("--family", "v2-student", "--name", NAME)
    printed = tessera(folder, "import-weights", "student.pt", *arguments).stdout
    assert f"{NAME} version 1 is registered" in printed
    return folder


def test_imported_weights_become_champion_and_a_retrained_model_challenges_them(
    checkout: Path,
) -> None:
    (artifact,) = (checkout / "data" / "imported").glob(f"{NAME}-*")
    setting = f"pretrain.imported={artifact.relative_to(checkout)}"
    imported = tessera(checkout, "retrain", "--set", setting, *OWN_NAME).stdout
    own = tessera(checkout, "retrain", *OWN_NAME).stdout

    assert "imported as v2-student" in imported
    assert f"{NAME} version 1 is champion" in imported
    assert "encoder_16/linear" in imported, "a Matryoshka student is scored by prefix too"
    assert "certificate" in imported
    (decision,) = [line for line in own.splitlines() if f"{NAME} version 2 is" in line]
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
