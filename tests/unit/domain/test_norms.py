"""Normalisation: refused where it would divide by nothing, and the same after storage."""

import json

import numpy as np
import pytest

from tessera_core.domain.norms import BandStats, NormStats
from tessera_core.errors import RecordError
from tessera_core.testing.pixels import NORMS

PAIR = BandStats(mean=(1000.0, 2000.0), std=(10.0, 20.0))


def test_values_are_centred_and_scaled_band_by_band():
    normalised = PAIR.apply(np.array([[[1010, 1960]]], np.int16))

    assert normalised.tolist() == [[[1.0, -2.0]]]
    assert normalised.dtype == np.float32


def test_a_value_below_the_mean_does_not_wrap_around():
    assert PAIR.apply(np.array([0, 0], np.uint16)).tolist() == [-100.0, -100.0]


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((1.0,), (1.0, 2.0), "1 means but 2 deviations"),
        ((1.0, np.nan), (1.0, 2.0), "must be finite with positive deviations"),
        ((1.0, 1.0), (1.0, np.inf), "must be finite"),
        ((1.0, 1.0), (1.0, 0.0), "a constant band cannot be normalised"),
        ((1.0, 1.0), (1.0, -2.0), "positive deviations"),
        ((), (), "positive deviations"),
    ],
)
def test_statistics_that_would_make_nan_are_refused(mean, std, message):
    with pytest.raises(RecordError, match=message):
        BandStats(mean=mean, std=std)


def test_each_sensor_has_its_number_of_bands():
    with pytest.raises(RecordError, match=r"norms\.s2 has 2 bands, expected 10"):
        NormStats(s2=PAIR, s1_ascending=PAIR, s1_descending=PAIR)
    with pytest.raises(RecordError, match=r"norms\.s1_descending has 10 bands, expected 2"):
        NormStats(s2=NORMS.s2, s1_ascending=PAIR, s1_descending=NORMS.s2)


def test_statistics_survive_json_to_the_last_digit():
    exact = NormStats(
        s2=BandStats(mean=(0.1,) * 10, std=(1 / 3,) * 10), s1_ascending=PAIR, s1_descending=PAIR
    )

    assert NormStats.from_dict(json.loads(json.dumps(exact.to_dict()))) == exact


@pytest.mark.parametrize("part", ["s2", "s1_ascending", "s1_descending"])
def test_a_missing_part_is_named(part):
    stored = NORMS.to_dict()
    del stored[part]

    with pytest.raises(RecordError, match=f"norms lack '{part}'; rerun the shuffle stage"):
        NormStats.from_dict(stored)


def test_a_part_without_deviations_is_refused():
    stored = NORMS.to_dict()
    del stored["s2"]["std"]

    with pytest.raises(RecordError, match="norms lack 'std'"):
        NormStats.from_dict(stored)
