"""The embedding engine: every valid observation, no neighbour."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tessera_core.domain.dpixel import DPixels, Series
from tessera_core.domain.sampling import V2_SAMPLING
from tessera_core.model.artifact import random_artifact
from tessera_core.model.embed import embed_pixels
from tessera_core.model.equal_lengths import equal_lengths, plan_sensor
from tessera_core.model.sequences import sequences_of
from tessera_core.testing.models import TINY_SHAPE, tiny_model
from tessera_core.testing.pixels import make_pixels, random_pixels

BATCH_TOLERANCE = 5e-6
"""Absolute, on values of deviation 1: matrix products of another height sum in another order.

Measured at most 1.5e-6; a neighbour that leaks in moves values by 0.1 and more."""

MODEL = tiny_model(seed=1, shape=replace(TINY_SHAPE, embedding_dim=128))


def embed(pixels, batch_size=64):
    return embed_pixels(MODEL, pixels, batch_size=batch_size)


def plans_of(pixels):
    """Both sensors' parts in the batches of all d-pixels that have data."""
    *sensors, has_data = sequences_of(pixels, MODEL.norms, V2_SAMPLING)
    rows = np.flatnonzero(has_data)
    s2, s1 = (plan_sensor(part, rows, V2_SAMPLING, 0, torch.device("cpu")) for part in sensors)
    return s2, s1


def change_series(series, **parts):
    """A copy of a series with some arrays replaced."""
    values = {name: getattr(series, name) for name in ("values", "day_of_year", "offsets", "valid")}
    return Series(**{**values, **parts})


def test_embeddings_are_float32_rows_of_the_configured_width():
    embedding = embed(random_pixels(30, seed=1))

    assert embedding.shape == (30, 128)
    assert embedding.dtype == np.float32
    assert np.isfinite(embedding).all()


def test_each_embedding_has_mean_0_and_deviation_1():
    embedding = embed(random_pixels(30, seed=1)).astype(np.float64)

    assert np.abs(embedding.mean(axis=1)).max() < 1e-6
    assert np.abs(embedding.std(axis=1) - 1).max() < 2e-3


@pytest.mark.parametrize("batch_size", [1, 7, 60, 1024])
def test_an_embedding_does_not_depend_on_the_batch_size(batch_size):
    pixels = random_pixels(60, seed=2)

    difference = np.abs(embed(pixels, batch_size) - embed(pixels, 16)).max()

    assert difference < BATCH_TOLERANCE


def test_an_embedding_does_not_depend_on_its_batch_neighbours():
    pixels = random_pixels(60, seed=3)
    whole = embed(pixels)
    rng = np.random.default_rng(4)

    for size in (1, 5, 23):
        rows = rng.choice(60, size, replace=False)
        assert np.abs(embed(pixels.take(rows)) - whole[rows]).max() < BATCH_TOLERANCE


def test_embedding_twice_gives_the_same_bytes():
    pixels = random_pixels(40, seed=5)

    assert embed(pixels).tobytes() == embed(pixels).tobytes()


def test_obscured_and_missing_observations_do_not_count():
    pixels = random_pixels(20, seed=6)
    rng = np.random.default_rng(7)
    optical = pixels.optical
    noise = rng.integers(1, 10_000, optical.values.shape).astype(np.uint16)
    other_clouds = np.where(optical.valid[:, None], optical.values, noise)
    cloudy = replace(pixels, optical=change_series(optical, values=other_clouds))

    assert (cloudy.optical.values != optical.values).any()
    assert embed(cloudy).tobytes() == embed(pixels).tobytes()


def test_every_clear_observation_counts():
    pixels = make_pixels([12], [4], [4], seed=8)
    before = embed(pixels)

    for position in range(12):
        values = pixels.optical.values.copy()
        values[position] += 2000
        changed = replace(pixels, optical=change_series(pixels.optical, values=values))
        assert np.abs(embed(changed) - before).max() > 1e-3


def test_a_dpixel_without_any_valid_observation_is_a_row_of_nan():
    pixels = make_pixels([3, 0, 3], [2, 0, 2], [2, 0, 2], seed=9, num_unusable=4)

    embedding = embed(pixels)

    assert np.isnan(embedding[1]).all()
    assert np.isfinite(embedding[[0, 2]]).all()


@pytest.mark.parametrize(
    ("optical", "ascending", "descending"),
    [(5, 0, 3), (5, 3, 0), (5, 0, 0), (0, 3, 2), (0, 0, 1), (1, 0, 0)],
    ids=["no ascending", "no descending", "no S1", "no S2", "one S1 only", "one S2 only"],
)
def test_a_sensor_may_be_missing(optical, ascending, descending):
    alone = make_pixels([optical], [ascending], [descending], seed=10)
    beside = make_pixels([optical, 9], [ascending, 6], [descending, 6], seed=10, num_unusable=2)

    assert np.isfinite(embed(alone)).all()
    assert np.isfinite(embed(beside)).all()


def test_no_dpixel_of_a_set_has_any_radar():
    pixels = make_pixels([4, 9, 17], [0] * 3, [0] * 3, seed=11)

    assert np.isfinite(embed(pixels)).all()


def test_a_set_without_dpixels_gives_no_rows():
    empty = random_pixels(4, seed=1).take(np.zeros(0, np.int64))

    assert embed(empty).shape == (0, 128)


def test_more_than_256_observations_are_thinned_evenly():
    pixels = make_pixels([400, 300], [310, 5], [20, 5], seed=12)

    embedding = embed(pixels)

    chosen = np.linspace(0, 399, 256).astype(np.int64)
    optical = pixels.take(np.array([0])).optical
    thinned = change_series(
        optical,
        values=optical.values[chosen],
        day_of_year=optical.day_of_year[chosen],
        offsets=np.array([0, 256]),
        valid=optical.valid[chosen],
    )
    first = pixels.take(np.array([0]))
    s2, s1 = plans_of(pixels)
    assert s2.length.tolist() == [256, 256]
    assert s1.length.tolist() == [256, 16]
    assert np.isfinite(embedding).all()
    assert np.abs(embed(replace(first, optical=thinned)) - embedding[:1]).max() < BATCH_TOLERANCE


def test_swapping_orbits_changes_the_embedding():
    pixels = make_pixels([6] * 4, [5] * 4, [5] * 4, seed=13)
    swapped = DPixels(
        optical=pixels.optical, ascending=pixels.descending, descending=pixels.ascending
    )

    assert np.abs(embed(swapped) - embed(pixels)).max() > 0.01


def test_permuting_bands_changes_the_embedding():
    pixels = random_pixels(10, seed=14)
    by_wavelength = [1, 2, 0, 5, 6, 7, 3, 4, 8, 9]
    values = pixels.optical.values[:, by_wavelength]
    permuted = replace(pixels, optical=change_series(pixels.optical, values=values))

    assert np.abs(embed(permuted) - embed(pixels)).max() > 0.05


def test_a_model_left_in_training_mode_embeds_without_dropout():
    model = tiny_model(seed=2)
    pixels = random_pixels(10, seed=15)
    expected = embed_pixels(model, pixels, batch_size=8)

    model.encoder.train()
    found = embed_pixels(model, pixels, batch_size=8)

    assert found.tobytes() == expected.tobytes()


def test_groups_of_equal_length_hold_every_dpixel_with_data_once():
    pixels = random_pixels(200, seed=16)

    plans = plans_of(pixels)
    groups = equal_lengths(plans)

    assert sorted(np.concatenate(groups)) == list(range(200))
    assert len(groups) > 3
    for members in groups:
        for plan in plans:
            assert len(np.unique(plan.length[members])) == 1


def test_a_sequence_is_its_distinct_observations_in_the_places_that_repeat_them():
    pixels = random_pixels(60, seed=18)

    for plan in plans_of(pixels):
        for members in equal_lengths((plan, plan)):
            tokens, repeats = plan.take(members)
            length = int(plan.length[members[0]])
            positions = plan.sensor.positions(members, V2_SAMPLING, length, seed=0)
            whole = plan.sensor.tokens_MC[plan.sensor.offsets[members][:, None] + positions]
            seen = plan.sensor.num_usable()[members] > 0
            if repeats is None:
                assert np.array_equal(tokens.numpy()[seen], whole[seen])
                continue
            place = repeats.place_BL[..., None].expand(-1, -1, tokens.shape[-1])
            assert np.array_equal(tokens.gather(1, place).numpy()[seen], whole[seen])
            counts = np.stack(
                [np.bincount(row, minlength=tokens.shape[1]) for row in place[..., 0]]
            )
            np.testing.assert_allclose(repeats.log_count_BU.exp().numpy(), counts, rtol=1e-6)


def test_the_random_baseline_has_the_same_shape_and_other_weights_by_seed():
    pixels = random_pixels(10, seed=17)

    one, again, other = (
        embed_pixels(random_artifact(MODEL, seed), pixels, batch_size=8) for seed in (1, 1, 2)
    )

    assert one.shape == (10, 128)
    assert one.tobytes() == again.tobytes()
    assert np.abs(one - other).max() > 0.1


def test_threads_change_no_bit():
    artifact, pixels = tiny_model(2), random_pixels(60, 3)

    alone, together = (
        embed_pixels(artifact, pixels, batch_size=7, num_threads=number) for number in (1, 3)
    )

    assert alone.tobytes() == together.tobytes()
