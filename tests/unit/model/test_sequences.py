"""What each release is shown of a d-pixel: which observations, in which order, what for none."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tessera_core.domain.dpixel import DPixels
from tessera_core.domain.sampling import V1_0_SAMPLING, V1_1_SAMPLING, V2_SAMPLING
from tessera_core.model.embed import embed_pixels
from tessera_core.model.family import Family
from tessera_core.model.sequences import EMPTY_ORBIT_DAY, sequences_of
from tessera_core.testing.pixels import NORMS, make_pixels, random_pixels
from tests.unit.model.made import made_model, whole_sequence, written_pixels

V1_0 = replace(V1_0_SAMPLING, lengths=(6,))
ALL_RULES = pytest.mark.parametrize(
    "sampling", [V1_0, V1_1_SAMPLING, V2_SAMPLING], ids=["v1.0", "v1.1", "v2"]
)
BUCKET_RULES = pytest.mark.parametrize("sampling", [V1_1_SAMPLING, V2_SAMPLING], ids=["v1.1", "v2"])
RADAR = [(10, 5000, True)]


def shown(sensor, pixel):
    """(Day, first band in stored units) of each token of a d-pixel; the norms are those of S2."""
    return tokens_of(sensor, pixel, NORMS.s2)


def tokens_of(sensor, pixel, stats):
    rows = sensor.tokens_MC[sensor.offsets[pixel] : sensor.offsets[pixel + 1]]
    values = rows[:, 0].astype(np.float64) * stats.std[0] + stats.mean[0]
    return [(int(day), round(float(value))) for day, value in zip(rows[:, -1], values, strict=True)]


def test_v1_0_falls_back_to_obscured_dates_where_a_dpixel_has_no_clear_one():
    pixels = written_pixels(
        [
            [(5, 900, False), (9, 7000, False)],
            [(5, 900, False), (9, 1200, True), (12, 8000, False)],
        ],
        [RADAR, RADAR],
        [[], []],
    )

    s2, _, has_data = sequences_of(pixels, NORMS, V1_0)

    assert has_data.tolist() == [True, True]
    assert shown(s2, 0) == [(5, 900), (9, 7000)]
    assert shown(s2, 1) == [(9, 1200)]


@BUCKET_RULES
def test_the_other_releases_never_look_at_obscured_dates(sampling):
    pixels = written_pixels([[(5, 900, False), (9, 7000, False)]] * 2, [RADAR, []], [[], []])

    s2, _, has_data = sequences_of(pixels, NORMS, sampling)

    assert s2.num_usable().tolist() == [0, 0]
    assert has_data.tolist() == [True, False]


def test_v1_0_puts_a_zero_row_of_day_180_in_the_place_of_an_orbit_without_passes():
    clear = [(5, 900, True)]
    missing = [(30, 0, False), (60, 0, False)]
    pixels = written_pixels(
        [clear] * 4,
        [[], missing, RADAR, []],
        [missing, [], [], []],
    )

    _, s1, has_data = sequences_of(pixels, NORMS, V1_0)

    def ascending(tokens):
        return tokens_of(s1, tokens, NORMS.s1_ascending)

    def descending(tokens):
        return tokens_of(s1, tokens, NORMS.s1_descending)

    assert EMPTY_ORBIT_DAY == 180
    assert has_data.all()
    assert s1.num_usable().tolist() == [3, 3, 1, 2]
    assert ascending(0)[0] == (180, 0)
    assert descending(0)[1:] == [(30, 0), (60, 0)]
    assert ascending(1)[:2] == [(30, 0), (60, 0)]
    assert descending(1)[2:] == [(180, 0)]
    assert ascending(2) == [(10, 5000)], "one orbit with data needs no stand-in for the other"
    assert (ascending(3)[0], descending(3)[1]) == ((180, 0), (180, 0))


def test_v1_0_does_not_mix_missing_passes_into_an_orbit_that_has_data():
    passes = [(10, 5000, True), (20, 0, False)]
    pixels = written_pixels([[(5, 900, True)]], [passes], [[(30, 0, False)]])

    _, s1, _ = sequences_of(pixels, NORMS, V1_0)

    assert tokens_of(s1, 0, NORMS.s1_ascending) == [(10, 5000)]


def test_v1_0_has_no_embedding_without_any_s2_value():
    model = made_model(Family.V1_0_EARLY)
    pixels = written_pixels(
        [[(5, 0, True), (9, 0, False)], [], [(5, 0, True), (9, 700, False)]],
        [RADAR] * 3,
        [[]] * 3,
    )

    embedding = embed_pixels(model, pixels, batch_size=8)

    assert np.isnan(embedding[:2]).all()
    assert np.isfinite(embedding[2]).all(), "an obscured value is a value"


@pytest.mark.parametrize("family", [Family.V1_1_MPC, Family.V2_STUDENT])
def test_the_other_releases_embed_radar_alone(family):
    model = made_model(family)
    pixels = written_pixels([[(5, 0, False)], []], [RADAR, []], [[], []])

    embedding = embed_pixels(model, pixels, batch_size=8)

    assert np.isfinite(embedding[0]).all()
    assert np.isnan(embedding[1]).all()


@ALL_RULES
def test_s1_is_ascending_then_descending_and_not_in_order_of_date(sampling):
    pixels = written_pixels(
        [[(5, 900, True)]] * 2,
        [[(100, 4000, True), (300, 4100, True)], [(40, 4200, True)]],
        [[(50, 5000, True), (200, 5100, True)], [(30, 5200, True)]],
    )

    _, s1, _ = sequences_of(pixels, NORMS, sampling)

    assert tokens_of(s1, 0, NORMS.s1_ascending)[:2] == [(100, 4000), (300, 4100)]
    assert tokens_of(s1, 0, NORMS.s1_descending)[2:] == [(50, 5000), (200, 5100)]
    assert tokens_of(s1, 1, NORMS.s1_ascending)[:1] == [(40, 4200)]
    assert tokens_of(s1, 1, NORMS.s1_descending)[1:] == [(30, 5200)]


@pytest.mark.parametrize(
    ("family", "notices"),
    [
        (Family.V1_0_EARLY, True),
        (Family.V1_0_QAT, True),
        (Family.V1_1_AWS, True),
        (Family.V2_STUDENT, False),
        (Family.V2_TEACHER, False),
    ],
)
def test_a_v1_model_notices_radar_sorted_by_date_and_a_v2_model_does_not(family, notices):
    model = made_model(family)
    pixels = make_pixels([12] * 8, [7] * 8, [9] * 8, seed=3)
    s2, s1, _ = sequences_of(pixels, model.norms, V2_SAMPLING)

    differences = []
    for pixel in range(8):
        optical, radar = (
            torch.from_numpy(sensor.tokens_MC[None, sensor.offsets[pixel] :][:, :num])
            for sensor, num in ((s2, 12), (s1, 16))
        )
        by_date = radar[:, torch.argsort(radar[0, :, -1], stable=True)]
        assert not torch.equal(by_date, radar)
        with torch.no_grad():
            change = model.encoder(optical, by_date) - model.encoder(optical, radar)
        differences.append(change.abs().max().item())

    assert min(differences) > 1e-4 if notices else max(differences) < 5e-6


@ALL_RULES
def test_each_orbit_is_normalised_by_its_own_statistics(sampling):
    pixels = written_pixels([[(5, 900, True)]], [[(9, 5000, True)]], [[(9, 5000, True)]])

    _, s1, _ = sequences_of(pixels, NORMS, sampling)

    expected = [
        (5000 - np.array(stats.mean)) / np.array(stats.std)
        for stats in (NORMS.s1_ascending, NORMS.s1_descending)
    ]
    np.testing.assert_allclose(s1.tokens_MC[:, :2], expected, rtol=1e-6)


@pytest.mark.parametrize(("sampling", "length"), [(V1_1_SAMPLING, 8), (V2_SAMPLING, 1)])
def test_a_silent_sensor_is_eight_rows_of_zeros_for_v1_1_and_one_for_v2(sampling, length):
    pixels = written_pixels([[(5, 900, True)]], [[]], [[]])

    _, s1, _ = sequences_of(pixels, NORMS, sampling)

    tokens = whole_sequence(s1, 0, sampling, seed=0)
    assert tokens.shape == (1, length, 3)
    assert not tokens.any()


@ALL_RULES
def test_what_a_dpixel_is_shown_does_not_depend_on_its_neighbours_or_its_place(sampling):
    pixels = random_pixels(40, seed=5)
    rows = np.random.default_rng(6).permutation(40)[:13]
    whole, some = (sequences_of(part, NORMS, sampling) for part in (pixels, pixels.take(rows)))

    for all_of, part in zip(whole[:2], some[:2], strict=True):
        for place, row in enumerate(rows):
            one, other = (
                whole_sequence(sensor, at, sampling, seed=7)
                for sensor, at in ((part, place), (all_of, row))
            )
            assert torch.equal(one, other)


def test_equal_observations_of_a_dpixel_are_drawn_one_by_one():
    # A hash of the content alone would give both the same key, so both or none are drawn.
    pixels = written_pixels([[(5, 900, True)] * 40], [RADAR], [[]])
    s2, *_ = sequences_of(pixels, NORMS, V1_0)

    assert len(np.unique(s2.content_M)) == 40


def test_a_set_of_no_dpixels_has_no_sequences():
    nothing = random_pixels(3, seed=1).take(np.zeros(0, np.int64))
    assert isinstance(nothing, DPixels)

    for sampling in (V1_0, V1_1_SAMPLING, V2_SAMPLING):
        s2, s1, has_data = sequences_of(nothing, NORMS, sampling)
        assert (len(s2.tokens_MC), len(s1.tokens_MC), len(has_data)) == (0, 0, 0)
