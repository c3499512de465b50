"""Embedding in bfloat16: almost the same numbers, the same days, the same model afterwards."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tessera_core.domain.dpixel import Series
from tessera_core.model.embed import embed_pixels
from tessera_core.model.family import Family
from tessera_core.model.releases import student_shape
from tessera_core.testing.models import tiny_model
from tessera_core.testing.pixels import make_pixels, random_pixels
from tests.unit.model.made import made_model

SMALL = student_shape(model_dim=64, num_layers=2, num_heads=4, feedforward_dim=128)
BY_SENSOR = ("s2.", "s1.")


PRECISIONS = FLOAT32, BFLOAT16 = ("float32", "bfloat16")


def embedded(model, pixels, precision, **how):
    chosen = model.in_bfloat16() if precision == BFLOAT16 else model
    return embed_pixels(chosen, pixels, batch_size=64, **how)


def centred_cosines(first, second):
    """Cosine of each pair of rows after taking the mean of all rows from both, (N,)."""
    centre = first.mean(axis=0, dtype=np.float64)
    one, other = first - centre, second - centre
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(axis=1) / lengths


def on_day(pixels, day):
    """The same d-pixels with every S2 observation on one day."""
    optical = pixels.optical
    moved = Series(
        values=optical.values,
        day_of_year=np.full_like(optical.day_of_year, day),
        offsets=optical.offsets,
        valid=optical.valid,
    )
    return replace(pixels, optical=moved)


@pytest.mark.parametrize("qk_norm", [False, True], ids=["plain", "QK-norm"])
def test_bfloat16_embeddings_point_where_float32_ones_do(qk_norm):
    model = tiny_model(seed=3, shape=replace(SMALL, qk_norm=qk_norm))
    pixels = random_pixels(300, seed=40)

    exact = embedded(model, pixels, FLOAT32)
    found = embedded(model, pixels, BFLOAT16)

    cosines = centred_cosines(exact, found)
    assert found.dtype == np.float32
    assert not np.array_equal(found, exact), "something was computed in bfloat16"
    assert cosines.mean() >= 0.999
    assert cosines.min() >= 0.99


@pytest.mark.parametrize("family", list(Family))
def test_every_family_embeds_in_bfloat16(family):
    model, pixels = made_model(family), random_pixels(40, seed=41)
    width = model.config.encoder.embedding_dim

    exact = embedded(model, pixels, FLOAT32, dim=width)
    found = embedded(model, pixels, BFLOAT16, dim=width)

    # Miniatures of 16 values per token round coarsely; whole vectors are compared.
    relative = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    assert 0 < relative < 0.03


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("day", "other"), [(256, 257), (257, 258), (364, 365), (365, 366)])
def test_neighbouring_days_past_256_stay_two_days(day, other, precision):
    model = tiny_model(seed=3, shape=SMALL)
    pixels = make_pixels([4] * 6, [3] * 6, [3] * 6, seed=42)

    first, second = (embedded(model, on_day(pixels, when), precision) for when in (day, other))

    assert torch.tensor([257.0, 365.0]).bfloat16().tolist() == [256, 364], "the trap is real"
    assert (np.abs(first - second).max(axis=1) > 0.02).all()


def test_a_day_moves_a_bfloat16_embedding_as_far_as_a_float32_one():
    model = tiny_model(seed=3, shape=SMALL)
    pixels = make_pixels([4] * 20, [3] * 20, [3] * 20, seed=43)

    moves = {
        precision: embedded(model, on_day(pixels, 258), precision)
        - embedded(model, on_day(pixels, 257), precision)
        for precision in PRECISIONS
    }

    lengths = [np.linalg.norm(moves[precision]) for precision in PRECISIONS]
    assert lengths[1] == pytest.approx(lengths[0], rel=0.1)


def test_embedding_in_bfloat16_leaves_the_model_as_it_was():
    model, pixels = tiny_model(seed=4, shape=SMALL), random_pixels(10, seed=44)
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    expected = embedded(model, pixels, FLOAT32)

    embedded(model, pixels, BFLOAT16)

    after = model.encoder.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert {value.dtype for value in after.values()} == {torch.float32}
    assert embedded(model, pixels, FLOAT32).tobytes() == expected.tobytes()


def test_only_the_sensor_encoders_of_the_copy_are_bfloat16():
    encoder = made_model(Family.V2_TEACHER).encoder

    copy = encoder.in_bfloat16()

    types = {name: value.dtype for name, value in copy.state_dict().items()}
    assert any(name.startswith("fusion.") for name in types)
    for name, dtype in types.items():
        assert dtype == (torch.bfloat16 if name.startswith(BY_SENSOR) else torch.float32), name
    assert copy is not encoder
    assert {value.dtype for value in encoder.parameters()} == {torch.float32}


def test_no_data_is_nan_in_bfloat16_too():
    model = tiny_model(seed=4, shape=SMALL)
    pixels = make_pixels([3, 0], [2, 0], [2, 0], seed=45, num_unusable=2)

    embedding = embedded(model, pixels, BFLOAT16)

    assert np.isfinite(embedding[0]).all()
    assert np.isnan(embedding[1]).all()


def test_without_a_word_it_is_float32():
    model, pixels = tiny_model(seed=4, shape=SMALL), random_pixels(5, seed=46)

    default = embed_pixels(model, pixels, batch_size=64)

    assert default.tobytes() == embedded(model, pixels, FLOAT32).tobytes()
