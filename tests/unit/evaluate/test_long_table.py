"""Long-form tables become d-pixels; what would silently be wrong is refused."""

import numpy as np
import pytest

from tessera_core.benchmarks.long_table import read_long_table
from tessera_core.domain.bands import S2_BANDS
from tessera_core.errors import RecordError
from tessera_core.testing.tables import long_labels, long_series, write_long_table

NUM = 4


def read(folder, series=None, labels=None):
    return read_long_table(
        *write_long_table(folder, series or long_series(NUM), labels or long_labels(NUM))
    )


def test_each_label_gets_the_observations_of_its_d_pixel(tmp_path):
    series = long_series(NUM)

    table = read(tmp_path, series)

    is_second = (series["pixel_id"] == 2) & (series["sensor"] == "S2")
    expected = np.stack([series[band.name][is_second] for band in S2_BANDS], axis=1)
    optical = table.pixels.optical
    rows = slice(optical.offsets[2], optical.offsets[3])
    assert np.array_equal(optical.values[rows], expected)
    # December of the year before comes first and stays what it is.
    assert optical.day_of_year[rows].tolist() == [350, 15, 46]
    assert np.diff(table.pixels.ascending.offsets).tolist() == [2] * NUM
    assert np.diff(table.pixels.descending.offsets).tolist() == [0] * NUM
    assert table.year == 2017


def test_the_order_of_rows_and_d_pixels_without_label_do_not_matter(tmp_path):
    series, labels = long_series(NUM), long_labels(NUM)
    order = np.argsort(series["pixel_id"] % 2, kind="stable")
    moved = {name: values[order] for name, values in series.items()}
    few = {name: np.asarray(values)[[3, 1]].tolist() for name, values in labels.items()}

    whole, part = read(tmp_path / "a", series), read(tmp_path / "b", moved, few)

    assert np.array_equal(
        part.pixels.optical.values, whole.pixels.take(np.array([3, 1])).optical.values
    )


def test_missing_values_are_no_data_and_not_zero_reflectance(tmp_path):
    series = long_series(NUM)
    series["B02"][0] = np.nan
    series["valid"][1] = 0
    series["VV"][3] = np.nan

    pixels = read(tmp_path, series).pixels

    assert pixels.optical.valid[:3].tolist() == [False, False, True]
    assert pixels.ascending.values[0, 0] == 0
    assert pixels.ascending.values[0, 1] > 0


def test_radar_is_ascending_unless_a_column_says_otherwise(tmp_path):
    series = long_series(NUM)
    series["orbit"] = np.where(np.arange(5 * NUM) % 5 == 4, "descending", "ascending")

    pixels = read(tmp_path, series).pixels

    assert np.diff(pixels.ascending.offsets).tolist() == [1] * NUM
    assert np.diff(pixels.descending.offsets).tolist() == [1] * NUM


def without(frame, name):
    return {key: values for key, values in frame.items() if key != name}


@pytest.mark.parametrize(
    ("series", "labels", "message"),
    [
        (without(long_series(NUM), "B8A"), None, "has no column B8A"),
        (None, without(long_labels(NUM), "year"), "has no column year"),
        (None, {**long_labels(NUM), "pixel_id": [0, 1, 2, 2]}, "labels d-pixel 2 twice"),
        (None, {**long_labels(NUM), "pixel_id": [0, 1, 2, 9]}, "labels d-pixel 9, which"),
        (None, {**long_labels(NUM), "year": [2017, 2017, None, 2017]}, "1 of 4 rows say no year"),
        ({**long_series(NUM), "doy": np.full(20, 400)}, None, "expected 1..366"),
        ({**long_series(NUM), "sensor": np.full(20, "L8")}, None, "sensor 'L8', expected S2 or S1"),
        ({**long_series(NUM), "valid": [None] + [1] * 19}, None, "1 of 20 rows say no valid"),
        ({**long_series(NUM), "valid": ["false"] * 20}, None, "expected true and false or 1 and 0"),
        ({**long_series(NUM), "doy": np.full(20, 10.5)}, None, "doy holds float64, expected whole"),
        ({**long_series(NUM), "doy": np.full(20, np.nan)}, None, "doy holds float64, expected"),
        ({**long_series(NUM), "doy": ["10"] * 20}, None, "column doy holds object, expected whole"),
        ({**long_series(NUM), "B02": ["dark"] * 20}, None, "column B02 holds object, expected num"),
        (
            {**long_series(NUM), "orbit": ["sideways"] * 20}, None,
            "orbit 'sideways', expected ascending or descending",
        ),
        (None, {**long_labels(NUM), "year": [2017.5] * NUM}, "year holds float64, expected whole"),
        (None, {**long_labels(NUM), "year": [np.inf] * NUM}, "year holds float64, expected whole"),
        (None, {**long_labels(NUM), "year": [9999] * NUM}, "year 9999 or 9999, expected 1972.."),
        (None, {**long_labels(NUM), "pixel_id": [{"a": 1}] * NUM}, "whole numbers or text"),
        ({**long_series(NUM), "pixel_id": [[1]] * 20}, None, "expected whole numbers or text"),
        ({**long_series(NUM), "sensor": [b"\xff"] * 20}, None, "sensor holds binary, expected"),
        ({**long_series(NUM), "orbit": [[1]] * 20}, None, "column orbit holds list"),
        ({**long_series(NUM), "VV": np.full(20, -11.5)}, None, "expected (2 dB + 50) x 200"),
        (
            {**long_series(NUM), **{band.name: np.full(20, 0.3) for band in S2_BANDS}},
            None,
            "goes up to 0.3, expected it x 10000",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table_is_said(tmp_path, series, labels, message):
    with pytest.raises(RecordError) as refused:
        read(tmp_path, series, labels)

    assert message in str(refused.value)


def test_a_file_that_is_no_table_is_refused(tmp_path):
    paths = write_long_table(tmp_path, long_series(NUM), long_labels(NUM))
    paths[0].write_bytes(b"no table")

    with pytest.raises(RecordError, match="cannot read"):
        read_long_table(*paths)


def test_real_points_of_east_africa_are_read(shared_data):
    table = read_long_table(
        shared_data / "east-africa-2017.parquet", shared_data / "east-africa-2017-labels.parquet"
    )

    assert len(table.pixels) == 500
    assert len(np.unique(table.columns["position"])) == 451
    assert table.year == 2017
    assert table.pixels.optical.valid.any()
    assert (np.diff(table.pixels.optical.offsets) <= 12).all()
