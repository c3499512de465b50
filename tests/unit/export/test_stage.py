"""The export stage from samples and champion to a published folder."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from tessera_core.config import PlatformConfig
from tessera_core.domain.bands import NUM_S1, NUM_S2
from tessera_core.domain.embedding import CODE_MAX
from tessera_core.domain.grid import TileGrid
from tessera_core.domain.norms import BandStats, NormStats
from tessera_core.domain.scl import SceneClass
from tessera_core.domain.tile import OpticalSeries, RadarSeries, TileSeries, empty_radar
from tessera_core.errors import ArtifactError, GateError, RecordError
from tessera_core.export.publish import read_champion, source_uris
from tessera_core.export.stage import run
from tessera_core.export.validate import validate_export
from tessera_core.model.artifact import load_artifact, write_artifact
from tessera_core.model.config import own_config
from tessera_core.model.embed import embed_pixels
from tessera_core.model.encoder import Encoder
from tessera_core.model.releases import student_shape
from tessera_core.ports import OFFLINE, map_serially
from tessera_core.records.files import write_json
from tessera_core.records.manifest import Manifest, write_manifest
from tessera_core.records.paths import Paths
from tessera_core.records.samples import Scene, read_tile, tile_folder, write_tile

SHAPE = student_shape(
    model_dim=8, num_layers=1, num_heads=2, feedforward_dim=8, embedding_dim=12,
    dropout=0.0,
)  # fmt: skip
NORMS = NormStats(
    s2=BandStats(mean=(1000.0,) * NUM_S2, std=(500.0,) * NUM_S2),
    s1_ascending=BandStats(mean=(5000.0,) * NUM_S1, std=(900.0,) * NUM_S1),
    s1_descending=BandStats(mean=(5000.0,) * NUM_S1, std=(900.0,) * NUM_S1),
)
SCENE = Scene(
    scene_id="S2A", collection="sentinel-2-l2a", acquired="2022-05-01", orbit="", baseline="04.00",
    offset_removed=True, asset="B04", href="data/scenes/a.tif", sha256="0" * 64,
)  # fmt: skip
GRIDS = {
    "a": TileGrid(epsg=32631, west=500000, north=5000000, width=7, height=5),
    "b": TileGrid(epsg=32631, west=500070, north=5000020, width=6, height=6),
}


def tile_series(name: str, seed: int) -> TileSeries:
    """Random observations; pixel (0, 0) lies outside and pixel (1, 1) is never seen."""
    grid, rng = GRIDS[name], np.random.default_rng(seed)
    size = (grid.height, grid.width)
    scl = np.full((5, *size), SceneClass.VEGETATION, np.uint8)
    scl[:, 1, 1] = SceneClass.CLOUD_HIGH
    scl[2, 3] = SceneClass.CLOUD_SHADOW
    radar = rng.integers(3000, 7000, (4, *size, NUM_S1)).astype(np.int16)
    radar[:, 1, 1] = 0
    inside = np.ones(size, np.bool_)
    inside[0, 0] = False
    return TileSeries(
        name=name,
        year=2022,
        grid=grid,
        optical=OpticalSeries(
            reflectance=rng.integers(1, 4000, (5, *size, NUM_S2)).astype(np.uint16),
            scl=scl,
            day_of_year=np.array([20, 90, 150, 200, 300], np.uint16),
        ),
        ascending=RadarSeries(
            backscatter_scaled_db=radar, day_of_year=np.array([5, 100, 190, 280], np.uint16)
        ),
        descending=empty_radar(grid),
        inside=inside,
    )


def lay_out(paths: Paths, seed: int) -> None:
    """Write samples, a champion with weights from ``seed``, and its registration."""
    for number, name in enumerate(GRIDS):
        write_tile(tile_series(name, number), [SCENE], tile_folder(paths.samples, name, 2022))
    write_manifest(paths.samples, "samples", {})
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = Encoder(SHAPE)
    canaries = read_tile(tile_folder(paths.samples, "a", 2022)).pixels.take(np.arange(3))
    model = write_artifact(paths.champion, encoder, own_config(SHAPE), NORMS, canaries)
    register(paths, version="3", model_digest=model.digest)


def register(paths: Paths, **champion: str) -> None:
    record = {"pretrain": "e" * 64, "evaluate": "f" * 64, **champion}
    write_json(
        paths.registration / "registration.json", {"model_name": "tessera", "champion": record}
    )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A workspace where ingest and register have run; not to be changed."""
    root = tmp_path_factory.mktemp("workspace")
    lay_out(Paths(root=root, workspace=root), seed=1)
    return root


@pytest.fixture
def paths(workspace, tmp_path):
    root = shutil.copytree(workspace, tmp_path / "root")
    return Paths(root=root, workspace=root)


@pytest.fixture(scope="module")
def config(repo):
    return PlatformConfig.read(
        repo / "params.yaml", ["export.chunk_size=4", "export.shard_size=8", "export.batch_size=9"]
    )


def published(paths: Paths) -> list[str]:
    return sorted(path.name for path in paths.exports.iterdir())


def test_a_champion_embeds_every_tile_into_one_sound_folder(config, paths):
    outcome = run(config, paths, OFFLINE)

    (manifest,) = outcome.outputs
    facts = Manifest.read(manifest.parent).facts
    assert validate_export(manifest.parent) == []
    assert published(paths) == [outcome.facts["export"]]
    assert outcome.facts["export"].startswith("tessera-v3-")
    assert outcome.facts["num_pixels"] == facts["num_pixels"] == (35 - 2) + (36 - 2)
    assert facts["model_digest"] == load_artifact(paths.champion).digest
    assert facts["samples_digest"] == Manifest.read(paths.samples).digest
    assert [(tile["tile"], tile["epsg"], tile["bounds"]) for tile in facts["tiles"]] == [
        ("a", 32631, [500000, 4999950, 500070, 5000000]),
        ("b", 32631, [500070, 4999960, 500130, 5000020]),
    ]


def test_each_pixel_is_the_models_embedding_within_half_a_scale(config, paths):
    tile = read_tile(tile_folder(paths.samples, "b", 2022))
    expected = embed_pixels(load_artifact(paths.champion), tile.pixels, batch_size=64)

    (manifest,) = run(config, paths, OFFLINE).outputs

    folder = manifest.parent / "npy" / "b" / "2022"
    codes, scales = np.load(folder / "b.npy"), np.load(folder / "b_scales.npy")
    values = (codes * scales[..., None])[tile.row, tile.column]
    seen = np.isfinite(expected).all(axis=1)
    bound = np.abs(expected[seen]).max(axis=1, keepdims=True) / CODE_MAX / 2
    assert (np.abs(values[seen] - expected[seen]) <= bound * 1.001).all()
    assert np.isnan(scales[0, 0])
    assert np.isnan(scales[1, 1])
    assert int(np.isnan(scales).sum()) == 2


def test_running_again_keeps_the_published_folder(config, paths):
    first = run(config, paths, OFFLINE)
    before = first.outputs[0].stat()

    second = run(config, paths, OFFLINE)

    assert second == first
    assert published(paths) == [first.facts["export"]]
    assert first.outputs[0].stat().st_mtime_ns == before.st_mtime_ns


def test_a_later_registration_of_the_same_champion_keeps_the_folder(config, paths):
    first = run(config, paths, OFFLINE)
    write_json(paths.receipt("register"), {"another": "candidate lost"})

    second = run(config, paths, OFFLINE)

    assert second.outputs == first.outputs


def test_a_published_folder_that_was_changed_is_an_error_and_stays(config, paths):
    (manifest,) = run(config, paths, OFFLINE).outputs
    scales = manifest.parent / "npy/a/2022/a_scales.npy"
    scales.write_bytes(scales.read_bytes()[:-1] + b"x")

    with pytest.raises(RecordError, match=r"a_scales\.npy: content differs.*never changes"):
        run(config, paths, OFFLINE)

    assert scales.read_bytes().endswith(b"x")


def test_other_content_under_a_published_name_is_an_error(config, paths):
    (manifest,) = run(config, paths, OFFLINE).outputs
    old = Manifest.read(manifest.parent)
    write_manifest(manifest.parent, old.kind, {**old.facts, "num_pixels": 1})

    with pytest.raises(RecordError, match="published before with other content: fact num_pixels"):
        run(config, paths, OFFLINE)


def test_an_export_of_another_model_under_the_same_name_is_refused(config, paths):
    (manifest,) = run(config, paths, OFFLINE).outputs
    old = Manifest.read(manifest.parent)
    write_manifest(manifest.parent, old.kind, {**old.facts, "model_digest": "d" * 64})

    with pytest.raises(RecordError, match="published before with other content: fact model_digest"):
        run(config, paths, OFFLINE)


def test_another_model_of_the_same_version_number_gets_a_folder_of_its_own(config, paths):
    first = run(config, paths, OFFLINE)
    lay_out(paths, seed=2)

    second = run(config, paths, OFFLINE)

    assert first.facts["model_digest"] != second.facts["model_digest"]
    assert published(paths) == sorted([first.facts["export"], second.facts["export"]])


def test_other_settings_are_another_export(config, paths):
    first = run(config, paths, OFFLINE)
    coarser = replace(config, export=replace(config.export, shard_size=16))

    second = run(coarser, paths, OFFLINE)

    assert published(paths) == sorted([first.facts["export"], second.facts["export"]])


def test_a_fault_on_the_way_to_disk_stops_publication(config, paths):
    def map_with_a_failing_disk(name, function, items):
        tiles = map_serially(name, function, items)
        (scales,) = paths.exports.glob(".*/*/npy/a/2022/a_scales.npy")
        np.save(scales, np.full_like(np.load(scales), 1e5))
        return tiles

    with pytest.raises(GateError, match=r"is not published.*scales are outside"):
        run(config, paths, replace(OFFLINE, mapper=map_with_a_failing_disk))

    assert published(paths) == []


def test_an_artifact_that_is_not_the_registered_one_is_refused(config, paths):
    register(paths, version="4", model_digest="d" * 64)

    with pytest.raises(ArtifactError, match="the registration names dddddddddddd as version 4"):
        run(config, paths, OFFLINE)


@pytest.mark.parametrize("record", [{}, {"champion": {}}, {"champion": None}])
def test_a_registration_that_is_none_is_refused(paths, record):
    write_json(paths.registration / "registration.json", {"model_name": "m", **record})

    with pytest.raises(RecordError, match=r"names no champion.*nothing to export"):
        read_champion(paths)


def test_where_no_version_has_become_champion_the_refusal_says_what_to_do(paths):
    record = {"model_name": "m", "candidate": {"version": "3"}, "champion": None}
    write_json(paths.registration / "registration.json", record)

    with pytest.raises(GateError, match=r"m has no champion.* `tessera promote 3 --by NAME"):
        read_champion(paths)


def test_what_an_unscored_champion_embeds_says_so_and_is_another_export_once_it_is_scored(
    config, paths
):
    scored = run(config, paths, OFFLINE)
    record = json.loads((paths.registration / "registration.json").read_bytes())
    record["champion"]["unscored"] = True
    write_json(paths.registration / "registration.json", record)

    unscored = run(config, paths, OFFLINE)

    folder, other = (each.outputs[0].parent for each in (unscored, scored))
    marked, plain = (Manifest.read(each).facts for each in (folder, other))
    root = json.loads((folder / "embeddings.zarr" / "zarr.json").read_text())
    assert folder != other
    assert marked["unscored"] is unscored.facts["unscored"] is True
    assert "unscored" not in plain | dict(scored.facts)
    assert root["attributes"]["tessera:unscored"] is True


def test_missing_samples_are_named(config, paths):
    shutil.rmtree(paths.samples / "tile=a")
    shutil.rmtree(paths.samples / "tile=b")

    with pytest.raises(RecordError, match=r"no samples in .*run `tessera ingest` first"):
        run(config, paths, OFFLINE)


def test_the_store_names_model_and_scenes_as_uris(config, paths):
    (manifest,) = run(config, paths, OFFLINE).outputs

    root = json.loads((manifest.parent / "embeddings.zarr" / "zarr.json").read_text())

    assert root["attributes"]["geoemb:model"] == "models:/tessera/3"
    assert root["attributes"]["geoemb:source_data"] == ["file:data/scenes#sentinel-2-l2a"]


def test_a_stac_api_gives_the_address_of_each_collection():
    uris = source_uris("https://example.org/stac/", ["sentinel-1-rtc", "my scenes"])

    assert uris == [
        "https://example.org/stac/collections/sentinel-1-rtc",
        "https://example.org/stac/collections/my%20scenes",
    ]
