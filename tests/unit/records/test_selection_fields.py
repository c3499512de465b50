"""Which fields choose among encoders: a quarter of every large class, and never those reported."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tessera_core.records.labels import MAX_PARCELS, UNLABELLED, Labels, read_labels
from tessera_core.records.selection_fields import (
    FIELDS_PER_SELECTED,
    MIN_FIELDS,
    selection_fields,
    without_fields,
)
from tessera_core.testing.catalogues import write_raster
from tessera_core.testing.tiles import make_grid

MAIZE, BEET, OATS = 1200, 6030, 1500


def write_labels(folder, codes, parcels):
    """Write two rasters, (row, column)."""
    codes, parcels = np.asarray(codes), np.asarray(parcels)
    folder.mkdir(parents=True, exist_ok=True)
    grid = make_grid(width=codes.shape[1], height=codes.shape[0])
    write_raster(folder / "crop_type.tif", codes.astype(np.uint16), grid, nodata=0)
    write_raster(folder / "parcel_id.tif", parcels.astype(np.int32), grid, nodata=0)
    return folder


def rows_of_fields(fields_per_class, *, first=1, num_pixels=3):
    """Return codes and parcels of fields that are one row of pixels each."""
    code = np.repeat(list(fields_per_class), list(fields_per_class.values()))
    parcel = first + np.arange(len(code))
    return (np.repeat(one[:, None], num_pixels, axis=1) for one in (code, parcel))


def per_class(chosen, codes, parcels):
    return {code: len(np.intersect1d(chosen, parcels[codes == code])) for code in np.unique(codes)}


def test_a_quarter_of_the_fields_of_each_large_class_chooses_and_none_of_a_small_one(tmp_path):
    codes, parcels = rows_of_fields({MAIZE: 41, BEET: MIN_FIELDS, OATS: MIN_FIELDS - 1})

    chosen = selection_fields([write_labels(tmp_path, codes, parcels)])

    assert FIELDS_PER_SELECTED == 4
    assert per_class(chosen, codes, parcels) == {MAIZE: 10, BEET: 4, OATS: 0}
    assert chosen.tolist() == sorted(set(chosen.tolist()))


def test_the_choice_is_spread_over_the_ids(tmp_path):
    codes, parcels = rows_of_fields({MAIZE: 400}, num_pixels=1)

    chosen = selection_fields([write_labels(tmp_path, codes, parcels)])

    # 25 of each quarter on average; the deviation is 4.
    assert all(9 < count < 41 for count in np.histogram(chosen, 4, (1, 401))[0])


def test_the_place_of_pixels_and_the_size_of_fields_do_not_matter(tmp_path):
    codes, parcels = rows_of_fields({MAIZE: 24, BEET: 24})
    order = np.random.default_rng(1).permutation(codes.size)
    mixed = [one.ravel()[order].reshape(codes.shape) for one in (codes, parcels)]
    wide = [np.repeat(one, 2, axis=1) for one in (codes, parcels)]

    expected = selection_fields([write_labels(tmp_path / "plain", codes, parcels)])

    for name, rasters in {"mixed": mixed, "wide": wide}.items():
        assert selection_fields([write_labels(tmp_path / name, *rasters)]).tolist() == (
            expected.tolist()
        )


def test_a_field_of_several_classes_counts_to_the_one_of_most_of_its_pixels(tmp_path):
    # 15 fields of maize and one that is maize in two pixels of three: 16, of which 4 choose.
    codes, parcels = rows_of_fields({MAIZE: MIN_FIELDS, BEET: 3})
    codes[0, 0] = BEET
    without = codes.copy()
    without[0, :2] = BEET

    chosen = selection_fields([write_labels(tmp_path / "most", codes, parcels)])

    assert len(chosen) == 4
    assert selection_fields([write_labels(tmp_path / "least", without, parcels)]).tolist() == []


def test_pixels_without_class_or_field_are_no_field(tmp_path):
    codes, parcels = rows_of_fields({MAIZE: 16, UNLABELLED: 20})
    codes = np.vstack([codes, np.full((20, 3), MAIZE)])
    parcels = np.vstack([parcels, np.zeros((20, 3), int)])

    chosen = selection_fields([write_labels(tmp_path, codes, parcels)])

    assert len(chosen) == 4
    assert 1 <= chosen.min() <= chosen.max() <= 16


def test_fields_of_the_nth_folder_have_the_numbers_that_reading_labels_gives_them(tmp_path):
    rasters = [tuple(rows_of_fields({MAIZE: 20})), tuple(rows_of_fields({BEET: 16}, first=500))]
    folders = [write_labels(tmp_path / str(number), *pair) for number, pair in enumerate(rasters)]
    folders.insert(1, tmp_path / "empty")

    chosen = selection_fields(folders)

    assert (chosen < MAX_PARCELS).sum() == 5
    assert (chosen // MAX_PARCELS).tolist() == [0] * 5 + [2] * 4
    labels = labels_of(folders[1:], 16, 3)
    assert set(selection_fields(folders[1:])) <= set(labels.parcel)
    assert set(chosen[5:] - MAX_PARCELS) == set(selection_fields(folders[1:]))


@pytest.mark.parametrize("missing", ["crop_type.tif", "parcel_id.tif"])
def test_a_folder_without_classes_or_fields_chooses_none(tmp_path, missing):
    folder = write_labels(tmp_path, *rows_of_fields({MAIZE: 40}))
    (folder / missing).unlink()

    assert selection_fields([folder]).tolist() == []


def test_rasters_of_different_size_choose_none(tmp_path):
    codes, parcels = rows_of_fields({MAIZE: 40})
    write_labels(tmp_path, codes, parcels)
    write_raster(tmp_path / "crop_type.tif", codes[:-1].astype(np.uint16), make_grid(), nodata=0)

    assert selection_fields([tmp_path]).tolist() == []


def test_no_folder_chooses_none():
    assert selection_fields([]).tolist() == []


def labels_of(folders, height, width):
    x, y = make_grid(width=width, height=height).centres()
    xs, ys = np.meshgrid(x, y)
    return read_labels(folders, np.full(xs.size, 32631, np.int32), xs.ravel(), ys.ravel())


def test_fields_that_choose_lose_their_class_and_keep_their_heights():
    labels = Labels(
        crop_type=np.array([MAIZE, MAIZE, BEET, BEET]),
        parcel=np.array([7, 8, 7 + MAX_PARCELS, 0]),
        canopy_height_m=np.array([1.0, 2.0, np.nan, 4.0]),
    )

    left = without_fields(labels, np.array([7]))

    assert left.crop_type.tolist() == [UNLABELLED, MAIZE, BEET, BEET]
    assert left.parcel.tolist() == [0, 8, 7 + MAX_PARCELS, 0]
    np.testing.assert_array_equal(left.canopy_height_m, labels.canopy_height_m)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_fields=st.integers(1, 120),
    num_classes=st.integers(1, 4),
    num_folders=st.integers(1, 3),
)
def test_what_the_probe_sees_and_what_reports_see_share_no_field(
    seed, num_fields, num_classes, num_folders
):
    # Fields of any form, of one class or several, that lie over each other in several rasters.
    rng, shape = np.random.default_rng(seed), (16, 24)
    with tempfile.TemporaryDirectory() as root:
        folders = []
        for number in range(num_folders):
            parcels = rng.integers(0, num_fields, shape, endpoint=True)
            code_of = rng.integers(0, num_classes, num_fields + 1, endpoint=True)
            is_odd = rng.random(shape) < 0.2
            codes = np.where(is_odd, rng.integers(0, num_classes, shape), code_of[parcels])
            folders.append(write_labels(Path(root) / str(number), codes, parcels))

        labels = labels_of(folders, *shape)
        selected = selection_fields(folders)
    is_probed = np.isin(labels.parcel, selected) & (labels.crop_type != UNLABELLED)
    reported = without_fields(labels, selected)
    is_reported = reported.crop_type != UNLABELLED

    assert not set(labels.parcel[is_probed]) & set(reported.parcel[is_reported])
    assert not (is_probed & is_reported).any()
    is_labelled = labels.crop_type != UNLABELLED
    assert (is_probed | is_reported).tolist() == is_labelled.tolist()


def test_what_a_raster_chooses_does_not_depend_on_the_folders_before_it(tmp_path):
    one = write_labels(tmp_path / "b", *rows_of_fields({MAIZE: 60}))
    new = write_labels(tmp_path / "a", *rows_of_fields({BEET: 40}))

    before, after = selection_fields([one]), selection_fields([new, one])

    assert (after[after > MAX_PARCELS] - MAX_PARCELS).tolist() == before.tolist()
