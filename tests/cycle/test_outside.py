"""Real data that lies outside the checkout: whole runs on it end in certificates that hold.

The folders are deeper than any name climbs, as on a machine that people use.
"""

import shutil
from pathlib import Path

import pytest

from tessera_core.config import PARAMS_NAME, PlatformConfig
from tests.cycle.conftest import make_checkout, tessera

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

TILE = "flanders-2018"
ASKED = "evaluate.tasks=[crop_type, flanders_crops]"
CHANGED = {
    f"../data/{TILE}/bands.npy": "a scene",
    f"../data/{TILE}/crop_type.tif": "a label raster beside it",
    f"../bench/{TILE}/parcel_id.tif": "a file of a benchmark",
    "../models/teacher/encoder.safetensors": "the teacher's weights",
}
"""Name of a source -> what it is, of the run that was taught."""


@pytest.fixture(scope="module")
def home(repo: Path, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with data and a model beside it, and two versions made of them."""
    folder = tmp_path_factory.mktemp("outside") / "a" / "b" / "c" / "d" / "home"
    folder.mkdir(parents=True)
    checkout = make_checkout(repo, folder / "checkout")
    for name in ("data", "bench"):
        shutil.copytree(shared_data / TILE, folder / name / TILE)
    write_model(folder / "models" / "teacher", checkout)
    shutil.copytree(folder / "models" / "teacher", folder / "models" / "given")
    real = (
        "ingest.source=tiles", f"ingest.path=../data/{TILE}", ASKED,
        "evaluate.benchmark_data=../bench",
    )  # fmt: skip
    # Whether the first version is good enough to serve is another matter.
    retrain(checkout, *real, "pretrain.teacher=../models/teacher", "register.model_name=taught",
            root="../checkout")  # fmt: skip
    retrain(checkout, *real, f"pretrain.imported={folder}/models/given",
            f"evaluate.labels={folder}/data/{TILE}", "register.model_name=given")  # fmt: skip
    return folder


def write_model(folder: Path, checkout: Path) -> None:
    """Write an untrained model of the shape that the checkout trains."""
    from tessera_core.model.artifact import write_artifact
    from tessera_core.pretrain.job import model_config
    from tessera_core.testing.models import tiny_encoder
    from tessera_core.testing.pixels import NORMS, random_pixels

    config = model_config(PlatformConfig.read(checkout / PARAMS_NAME).pretrain)
    write_artifact(folder, tiny_encoder(5, config.encoder), config, NORMS, random_pixels(4, 2))


def retrain(checkout: Path, *settings: str, root: str = ".") -> None:
    words = [word for setting in settings for word in ("--set", setting)]
    done = tessera(checkout, "retrain", "--root", root, *words, expect=None)
    assert done.returncode in (0, 3), f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert "break the chain" not in done.stderr, done.stderr


def test_versions_made_of_data_beside_the_checkout_pass_their_audit(home: Path) -> None:
    (home.parent / "door").symlink_to(home / "checkout")

    for version in ("taught/1", "given/1"):
        for root in (".", "../checkout", str(home.parent / "door")):
            told = tessera(home / "checkout", "audit", version, "--root", root).stdout
            assert "PASSED" in told


def test_one_byte_changed_in_any_of_it_is_named(home: Path) -> None:
    whole = {name: (home / "checkout" / name).read_bytes() for name in CHANGED}
    given = home / "models" / "given" / "encoder.safetensors"
    whole[str(given)] = given.read_bytes()
    for name, content in whole.items():
        (home / "checkout" / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        told = tessera(home / "checkout", "audit", "taught/1", expect=3).stdout
        of_given = tessera(home / "checkout", "audit", "given/1", expect=3).stdout
    finally:
        for name, content in whole.items():
            (home / "checkout" / name).write_bytes(content)

    assert [name for name in CHANGED if name not in told] == []
    assert str(given) in of_given


def test_a_checkout_that_moves_alone_or_with_its_data_keeps_its_certificates(home: Path) -> None:
    alone = home.parent / "elsewhere" / "and" / "deeper"
    alone.parent.mkdir(parents=True)
    (home / "checkout").rename(alone)
    for version in ("taught/1", "given/1"):
        assert "PASSED" in tessera(alone, "audit", version).stdout

    alone.rename(home / "checkout")
    together = home.parent.parent / "new home"
    home.rename(together)
    try:
        for version in ("taught/1", "given/1"):
            assert "PASSED" in tessera(together / "checkout", "audit", version).stdout
    finally:
        together.rename(home)
