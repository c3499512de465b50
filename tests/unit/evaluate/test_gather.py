"""What evaluation scores: capped by field, and no field that chose among encoders."""

from functools import partial

import numpy as np
import pytest

from tessera_core.benchmarks import gather as module
from tessera_core.benchmarks.gather import places_of
from tessera_core.benchmarks.units import smallest_keys
from tessera_core.config import PlatformConfig
from tessera_core.errors import InputError
from tessera_core.evaluate.job import benchmarks_of
from tessera_core.model.embed import embed_pixels
from tessera_core.records import selection_fields as selection
from tessera_core.records.paths import Paths
from tessera_core.testing.benchmarks import lay_benchmarks
from tessera_core.testing.catalogues import write_raster
from tessera_core.testing.models import tiny_model
from tessera_core.testing.samples import write_samples
from tessera_core.testing.tiles import make_grid, make_tile

GRID = make_grid(width=24, height=12)
MAIZE, BEET, OATS = 1200, 6030, 1500


def test_each_field_keeps_at_most_the_given_number():
    group = np.array([5, 5, 5, 2, 2, 9])
    key = np.array([0.3, 0.1, 0.2, 0.9, 0.8, 0.5])

    rows = smallest_keys(group, key, 2)

    assert rows.tolist() == [1, 2, 3, 4, 5]


def test_drawing_from_parts_equals_drawing_from_the_whole():
    rng = np.random.default_rng(0)
    group, key = rng.integers(0, 5, 60), rng.random(60)

    whole = smallest_keys(group, key, 4)
    parts = np.concatenate(
        [
            half + smallest_keys(group[half : half + 30], key[half : half + 30], 4)
            for half in (0, 30)
        ]
    )
    again = parts[smallest_keys(group[parts], key[parts], 4)]

    assert np.array_equal(whole, again)


def test_nothing_to_draw_from_gives_nothing():
    assert len(smallest_keys(np.zeros(0, np.int64), np.zeros(0), 3)) == 0


def write_labels(folder):
    """Write fields of 2 x 2 pixels, 36 of maize, 30 of beet and 6 of oats, and heights."""
    folder.mkdir(exist_ok=True)
    row, column = np.indices((GRID.height, GRID.width)) // 2
    parcel = 1 + row * (GRID.width // 2) + column
    code = np.where(parcel <= 36, MAIZE, np.where(parcel <= 66, BEET, OATS))
    write_raster(folder / "crop_type.tif", code.astype(np.uint16), GRID, nodata=0)
    write_raster(folder / "parcel_id.tif", parcel.astype(np.int32), GRID, nodata=0)
    write_raster(folder / "canopy_height.tif", parcel.astype(np.float32), GRID, nodata=None)


@pytest.fixture
def labelled(repo, tmp_path):
    """Settings and paths of a workspace with samples and labels."""
    paths = Paths(root=tmp_path, workspace=tmp_path)
    write_samples(paths.samples, [make_tile(name="tile", grid=GRID)])
    write_labels(tmp_path / "tiles")
    lay_benchmarks(repo, tmp_path, "crop_type", "canopy_height", "crop_presence", "burned")
    overrides = ("ingest.source=tiles", "ingest.path=tiles", "evaluate.max_pixels_per_field=4")
    return PlatformConfig.read(repo / "params.yaml", overrides), paths


def gather(config, paths, seed=1):
    tasks = benchmarks_of(config, paths)
    embed = partial(embed_pixels, tiny_model(seed), batch_size=module.EMBED_BATCH)
    return module.gather(tasks, places_of(config, paths), embed, config.evaluate)


def chosen_fields(config, paths):
    return selection.selection_fields(list(places_of(config, paths).labels))


def test_no_field_that_chooses_among_encoders_is_scored_or_mapped_as_labelled(labelled):
    config, paths = labelled
    chosen = chosen_fields(config, paths)

    found = gather(config, paths)

    crops = found.examples["crop_type"]
    assert len(chosen) == 9 + 7
    assert set(crops.group.tolist()) == set(range(1, 73)) - set(chosen.tolist())
    codes, counts = np.unique(crops.truth, return_counts=True)
    assert dict(zip(codes, counts, strict=True)) == {MAIZE: 4 * 27, BEET: 4 * 23, OATS: 4 * 6}
    (tile,) = found.tiles
    parcel = 1 + tile.row // 2 * (GRID.width // 2) + tile.column // 2
    assert ((tile.crop_type == 0) == np.isin(parcel, chosen)).all()


def test_heights_are_scored_in_fields_that_choose_too(labelled):
    config, paths = labelled

    found = gather(config, paths).examples["canopy_height"]

    # Heights are field ids here.
    assert set(found.truth) & set(chosen_fields(config, paths))


def test_a_patch_has_the_labels_that_fill_a_share_of_it(labelled):
    config, paths = labelled

    found = gather(config, paths).examples["crop_presence"]

    assert found.label_codes == (MAIZE, OATS, BEET)
    assert found.truth.shape == (len(found), 3)
    assert found.truth.any(axis=1).all()
    assert found.pool(found.embedding).shape == (len(found), found.embedding.shape[1])


def test_a_task_without_its_raster_has_no_examples(labelled):
    config, paths = labelled

    assert "burned" not in gather(config, paths).examples


def test_the_digest_of_labels_names_the_fields_that_reports_are_made_of(labelled):
    config, paths = labelled

    one, again = (gather(config, paths, seed).labels_digest for seed in (1, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "MIN_FIELDS", 10**9)
        everything = gather(config, paths)

    assert one == again
    assert everything.labels_digest != one
    assert set(everything.examples["crop_type"].group.tolist()) == set(range(1, 73))


def test_a_code_outside_a_strict_legend_is_refused_by_name(labelled):
    config, paths = labelled
    path = paths.root / "data/benchmarks/crop_type.yaml"
    text = path.read_text().replace("legend: crop_type", "legend: crop_type, strict: true")
    path.write_text(text)

    with pytest.raises(InputError, match=r"crop_type: the labels hold code 1200, which its legend"):
        gather(config, paths)


def test_classes_must_be_whole_numbers(labelled):
    config, paths = labelled
    path = paths.root / "data/benchmarks/canopy_height.yaml"
    text = path.read_text().replace("kind: regression", "kind: classification")
    path.write_text(text.replace("metrics: [r2, global_rmse, mae, bias]", "metrics: [accuracy]"))
    write_raster(
        paths.root / "tiles/canopy_height.tif",
        np.full((12, 24), 1.5, np.float32),
        GRID,
        nodata=None,
    )

    with pytest.raises(InputError, match=r"class code 1\.5, expected whole numbers"):
        gather(config, paths)
