"""Norms: over what was really observed, orbit by orbit, refused where they would lie."""

from dataclasses import replace

import numpy as np
import pytest

from tessera_core.domain.dpixel import DPixels, Series
from tessera_core.errors import InputError
from tessera_core.shuffle.norms import NEUTRAL, compute_norms
from tessera_core.testing.pixels import make_pixels

PIXELS = make_pixels([5, 7, 6], [4, 3, 5], [2, 4, 3], seed=2, num_unusable=2)


def clear_values(series: Series) -> np.ndarray:
    return series.values[series.valid].astype(np.float64)


def with_values(series: Series, **changes) -> Series:
    return replace(series, **changes)


def empty(series: Series) -> Series:
    """The same d-pixels, never observed."""
    return Series(
        values=series.values[:0],
        day_of_year=series.day_of_year[:0],
        offsets=np.zeros_like(series.offsets),
        valid=series.valid[:0],
    )


def test_reflectance_counts_where_it_is_clear_only():
    norms = compute_norms(PIXELS)

    clear = clear_values(PIXELS.optical)
    assert not PIXELS.optical.valid.all()
    assert norms.s2.mean == pytest.approx(clear.mean(axis=0), rel=1e-12)
    assert norms.s2.std == pytest.approx(clear.std(axis=0), rel=1e-12)


def test_orbits_have_statistics_of_their_own():
    norms = compute_norms(PIXELS)

    ascending, descending = clear_values(PIXELS.ascending), clear_values(PIXELS.descending)
    assert norms.s1_ascending.mean == pytest.approx(ascending.mean(axis=0), rel=1e-12)
    assert norms.s1_descending.mean == pytest.approx(descending.mean(axis=0), rel=1e-12)
    assert norms.s1_ascending != norms.s1_descending


def test_a_polarisation_that_was_not_sent_does_not_count():
    values = PIXELS.ascending.values.copy()
    values[np.flatnonzero(PIXELS.ascending.valid)[:3], 1] = 0
    pixels = replace(PIXELS, ascending=with_values(PIXELS.ascending, values=values))

    norms = compute_norms(pixels)

    sent = values[values[:, 1] != 0, 1].astype(np.float64)
    assert norms.s1_ascending.mean[1] == pytest.approx(sent.mean(), rel=1e-12)
    assert norms.s1_ascending.mean[0] == compute_norms(PIXELS).s1_ascending.mean[0]


@pytest.mark.parametrize(
    ("missing", "other"), [("ascending", "descending"), ("descending", "ascending")]
)
def test_an_orbit_that_was_never_seen_takes_the_statistics_of_the_other(missing, other):
    pixels = replace(PIXELS, **{missing: empty(getattr(PIXELS, missing))})

    norms = compute_norms(pixels)

    assert getattr(norms, f"s1_{missing}") == getattr(norms, f"s1_{other}")
    assert getattr(norms, f"s1_{other}") == getattr(compute_norms(PIXELS), f"s1_{other}")


def test_without_any_radar_nothing_is_scaled():
    pixels = DPixels(
        optical=PIXELS.optical,
        ascending=empty(PIXELS.ascending),
        descending=empty(PIXELS.descending),
    )

    norms = compute_norms(pixels)

    assert norms.s1_ascending == norms.s1_descending == NEUTRAL


def test_a_split_without_clear_observation_is_refused():
    never = with_values(PIXELS.optical, valid=np.zeros_like(PIXELS.optical.valid))

    with pytest.raises(InputError, match="no clear S2 observation; check masks and tiles"):
        compute_norms(replace(PIXELS, optical=never))


def test_a_constant_band_is_refused():
    values = PIXELS.optical.values.copy()
    values[:, 3] = 1234

    with pytest.raises(InputError, match="a Sentinel-2 band is constant over the train split"):
        compute_norms(replace(PIXELS, optical=with_values(PIXELS.optical, values=values)))


def test_the_order_of_pixels_moves_no_more_than_the_last_digits():
    turned = compute_norms(PIXELS.take(np.array([2, 0, 1])))

    assert turned.s2.mean == pytest.approx(compute_norms(PIXELS).s2.mean, rel=1e-12)
