"""A model is found by folder, file or version; embedding is what the platform's own engine does."""

import sys

import numpy as np
import pytest
import torch

from tessera_core import agreement, embed, load, open_export, open_samples, open_tile
from tessera_core.domain.embedding import quantise
from tessera_core.errors import ArtifactError, InputError, RecordError, SceneError
from tessera_core.model.artifact import write_artifact
from tessera_core.model.embed import embed_pixels
from tessera_core.model.family import Family
from tessera_core.model.releases import RELEASES
from tessera_core.records.paths import Paths
from tessera_core.testing.checkpoints import released_content, stated_heads, tiny_release
from tessera_core.testing.directories import tile_arrays, tile_document, write_tile_directory
from tessera_core.testing.models import TINY_CONFIG, tiny_encoder, tiny_model
from tessera_core.testing.pixels import NORMS, random_pixels
from tessera_core.testing.points import (
    DIMENSIONS,
    GRID,
    checkerboard_embedding,
    write_export,
)
from tessera_core.testing.samples import write_samples
from tessera_core.testing.tiles import make_grid, make_tile
from tests.unit.chain import record

TILE = make_tile(seed=1)


def write_model(folder, seed=1):
    canaries = random_pixels(4, seed=2)
    return write_artifact(folder, tiny_encoder(seed), TINY_CONFIG, NORMS, canaries)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout that knows version 3 of tessera; only its files and a record are there."""
    root = tmp_path_factory.mktemp("checkout")
    digest = write_model(root / "data" / "model").digest
    version = {"version": "3", "model_digest": digest}
    upstream = {"pretrain": "a" * 64, "evaluate": "b" * 64}
    facts = {"model_name": "tessera", "candidate": version | upstream, "champion": version}
    record(Paths(root=root, workspace=root), "register", upstream, [], facts)
    return root


def test_an_artifact_loads_from_its_folder(checkout):
    assert load(checkout / "data" / "model").config == TINY_CONFIG


def test_a_registered_version_loads_from_the_checkout_without_a_registry(checkout):
    digests = {load(name, checkout=checkout).digest for name in ("tessera/3", "tessera@champion")}

    assert digests == {load(checkout / "data" / "model").digest}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tessera/4", "know 0 models as version 4 of tessera.*know versions 3"),
        ("other@champion", "do not settle which version of other serves"),
        ("tessera@challenger", "there is no model 'tessera@challenger'; expected a folder"),
        ("no/such/folder", "there is no model 'no/such/folder'"),
    ],
)
def test_a_version_that_nobody_knows_is_refused(checkout, name, message):
    with pytest.raises(InputError, match=message):
        load(name, checkout=checkout)


def test_a_version_outside_a_checkout_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(InputError, match=r"is no checkout.*name the folder of the artifact"):
        load("tessera/3", checkout=tmp_path)


def test_a_released_file_needs_its_family(tmp_path):
    file = tmp_path / "student.pt"
    file.write_bytes(b"weights")

    with pytest.raises(InputError, match=r"family None, expected one of v1\.0-early"):
        load(file)
    with pytest.raises(ArtifactError):
        load(file, family="v2-student")


# The warning has its own test below; here it would end the test as an error.
@pytest.mark.filterwarnings("ignore:.*leaves open")
@pytest.mark.parametrize("family", list(Family))
def test_a_released_file_loads_with_the_norms_of_its_family(tmp_path, family):
    config = tiny_release(family)
    torch.save(released_content(config, seed=1), tmp_path / "released.pt")

    model = load(tmp_path / "released.pt", family=family, shapes=stated_heads(config))

    assert (model.norms, model.config) == (RELEASES[family].norms, config)


def test_what_a_released_file_leaves_open_is_warned_of(tmp_path):
    content = released_content(tiny_release(Family.V1_0_QAT), seed=1)
    torch.save(content, tmp_path / "released.pt")

    with pytest.warns(UserWarning, match=r"leaves open:\n.*the number of S2 heads"):
        load(tmp_path / "released.pt", family="v1.0-qat")


@pytest.mark.parametrize("device", ["gpu", "cuda:x"])
def test_a_device_that_is_none_is_refused(checkout, device):
    with pytest.raises(InputError, match=f"'{device}' is no device"):
        load(checkout / "data" / "model", device=device)


def test_a_tile_is_embedded_on_its_grid(tmp_path):
    folder = tmp_path / "33UXP"
    write_tile_directory(folder, tile_arrays(TILE), tile_document(TILE.grid, 2022))
    model = tiny_model(seed=1)

    found = embed(model, open_tile(folder))

    assert found.codes.shape == (TILE.grid.height, TILE.grid.width, TINY_CONFIG.output.dim)
    values = embed(model, open_tile(folder), as_float=True)
    assert np.array_equal(found.codes, quantise(values, TINY_CONFIG.output.coding).codes)


def test_samples_are_embedded_row_by_row(tmp_path):
    write_samples(tmp_path, [TILE])
    (tile,) = open_samples(tmp_path)
    model = tiny_model(seed=1)

    values = embed(model, tile, as_float=True)

    assert np.array_equal(values, embed_pixels(model, tile.pixels, batch_size=1024))


def test_folders_without_what_is_asked_for_are_refused(tmp_path):
    with pytest.raises(SceneError, match=r"there is no bands\.npy in it"):
        open_tile(tmp_path)
    with pytest.raises(RecordError, match=r"holds no samples, expected samples\.parquet"):
        open_samples(tmp_path)
    with pytest.raises(RecordError, match=r"has no embeddings\.zarr"):
        open_export(tmp_path)


def test_an_export_opens_as_xarray_with_codes_scales_and_places(tmp_path):
    embedding = checkerboard_embedding(seed=1)

    dataset = open_export(write_export(tmp_path, embedding))

    assert dict(dataset.sizes) == {"time": 1, "band": DIMENSIONS, "y": 80, "x": 80}
    assert np.array_equal(dataset.embeddings[0].transpose("y", "x", "band"), embedding.codes)
    assert np.isinf(dataset.scales[0, 0]).all()
    assert dataset.attrs["proj:code"] == f"EPSG:{GRID.epsg}"
    assert dataset.attrs["geoemb:model"] == "models:/tessera/3"
    assert dataset.time.values.tolist() == [2022]


def test_without_xarray_an_export_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)

    with pytest.raises(InputError, match=r"pip install 'tessera-platform\[xarray\]'"):
        open_export(tmp_path)


def test_a_zone_that_an_export_does_not_have_is_refused(tmp_path):
    write_export(tmp_path, checkerboard_embedding(seed=1))

    with pytest.raises(InputError, match="has zones utm31, got utm32"):
        open_export(tmp_path, zone="utm32")


def test_an_export_agrees_with_itself_and_not_with_noise(tmp_path):
    own = write_export(tmp_path / "own", checkerboard_embedding(seed=1))
    noise = np.random.default_rng(5).normal(size=(80, 80, DIMENSIONS)).astype(np.float32)
    other = write_export(tmp_path / "other", quantise(noise))

    same, apart = agreement(own, own), agreement(own, other)

    assert (same.verdict, same.error) == ("compatible", 0)
    assert apart.verdict == "incompatible"


def test_two_models_agree_on_samples_by_the_bridge(tmp_path):
    write_samples(tmp_path, [make_tile(seed=1, grid=make_grid(width=60, height=60))])

    found = agreement(tiny_model(seed=1), tiny_model(seed=1), samples=open_samples(tmp_path))

    assert found.verdict == "compatible"


def test_a_model_and_an_export_do_not_compare(tmp_path):
    with pytest.raises(InputError, match="do not compare"):
        agreement(tiny_model(seed=1), tmp_path)


def test_two_models_need_samples():
    with pytest.raises(InputError, match="give those of `open_samples`"):
        agreement(tiny_model(seed=1), tiny_model(seed=2))
