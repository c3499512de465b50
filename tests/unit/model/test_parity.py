"""The model family against the reference's own numbers (../shared/data/parity), release by release.

Tolerances are those of the fixtures' README; every wrong variant tried was off by 0.03 or more.
"""

import numpy as np
import pytest
import torch

from tessera_core.domain.dpixel import DPixels, Series, radar_series
from tessera_core.domain.embedding import quantise
from tessera_core.domain.sampling import V2_SAMPLING, v2_positions
from tessera_core.model.embed import embed_pixels
from tessera_core.model.family import Family
from tessera_core.model.sequences import sequences_of
from tests.unit.model.released import released_model, tile_pixels

TOLERANCE = 2e-5
"""Absolute, on values of deviation about 1."""

TOLERANCE_F64 = 1e-5
CHECKPOINTS = {
    "v1_0_early": Family.V1_0_EARLY,
    "v1_0_early_noprefix": Family.V1_0_EARLY,
    "v1_0_qat": Family.V1_0_QAT,
    "v1_0_qat_noprefix": Family.V1_0_QAT,
    "v1_1": Family.V1_1_MPC,
    "v1_1_full": Family.V1_1_AWS,
    "v2_student": Family.V2_STUDENT,
    "v2_student_qknorm": Family.V2_STUDENT,
    "v2_teacher": Family.V2_TEACHER,
    "v2_teacher_no_final_ln": Family.V2_TEACHER,
}
TILES = ("mixed", "dense", "noasc", "nosar")


@pytest.fixture(scope="module")
def parity(shared_data):
    return shared_data / "parity"


def stored_numbers(parity, name):
    """The numbers of a checkpoint; its other containers share them."""
    return np.load(parity / f"{name.removesuffix('_noprefix').removesuffix('_full')}.npz")


def has_data(tiles, name):
    """Where a tile's d-pixel has any usable observation."""
    pixels = tile_pixels(tiles, name)
    return (
        pixels.optical.num_valid() + pixels.ascending.num_valid() + pixels.descending.num_valid()
    ) > 0


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_tokens_give_the_reference_embeddings(parity, name):
    stored = stored_numbers(parity, name)
    encoder = released_model(parity, name, CHECKPOINTS[name]).encoder

    for dtype, expected, tolerance in (
        (torch.float32, "repr", TOLERANCE),
        (torch.float64, "repr_f64", TOLERANCE_F64),
    ):
        encoder.to(dtype)
        for case in range(int(stored["n_cases"])):
            tokens = [torch.from_numpy(stored[f"case{case}.{s}"]).to(dtype) for s in ("s2", "s1")]
            with torch.no_grad():
                found = encoder(*tokens).numpy()
            assert np.abs(found - stored[f"case{case}.{expected}"]).max() < tolerance


@pytest.mark.parametrize("case", range(4))
def test_embeddings_of_the_qat_release_have_the_reference_codes(parity, case):
    stored = stored_numbers(parity, "v1_0_qat")
    model = released_model(parity, "v1_0_qat", Family.V1_0_QAT)

    coded = quantise(stored[f"case{case}.repr"], model.config.output.coding)

    assert np.array_equal(coded.codes, stored[f"case{case}.int8"])
    np.testing.assert_allclose(coded.scale, stored[f"case{case}.scale"], rtol=1e-6)


@pytest.mark.parametrize("source", ["mpc", "aws"])
@pytest.mark.parametrize("tile", TILES)
def test_raw_tiles_give_the_reference_sequences_of_v1_1(parity, tile, source):
    stored = stored_numbers(parity, "v1_1")
    model = released_model(parity, "v1_1", Family(f"v1.1-{source}"))
    pixels = tile_pixels(np.load(parity / "tiles.npz"), tile)

    *sensors, _ = sequences_of(pixels, model.norms, model.config.sampling)

    for name, sensor in zip(("s2", "s1"), sensors, strict=True):
        lengths = model.config.sampling.lengths_of(sensor.num_usable())
        assert np.array_equal(lengths, stored[f"{tile}.{name}_bin"].reshape(-1))
        ends = np.cumsum(lengths)
        rows = np.split(stored[f"{tile}.{source}.inputs_{name}"], ends[:-1])
        for pixel, expected in enumerate(rows):
            if sensor.num_usable()[pixel] == 0:
                assert not expected.any()
                continue
            row = np.array([pixel])
            places = sensor.positions(row, model.config.sampling, len(expected), seed=0)[0]
            found = sensor.tokens_MC[sensor.offsets[pixel] + places]
            np.testing.assert_allclose(found[:, :-1], expected[:, :-1], atol=1e-5)
            assert np.array_equal(found[:, -1], expected[:, -1])


@pytest.mark.parametrize("source", ["mpc", "aws"])
@pytest.mark.parametrize("tile", TILES)
def test_raw_tiles_give_the_reference_embeddings_and_codes_of_v1_1(parity, tile, source):
    stored = stored_numbers(parity, "v1_1")
    model = released_model(parity, "v1_1", Family(f"v1.1-{source}"))
    tiles = np.load(parity / "tiles.npz")
    compare = has_data(tiles, tile)

    uncut = embed_pixels(model, tile_pixels(tiles, tile), batch_size=8, dim=20)
    cut = embed_pixels(model, tile_pixels(tiles, tile), batch_size=8)

    expected = stored[f"{tile}.{source}.embedding"].reshape(-1, 20)
    assert np.abs(uncut - expected)[compare].max() < TOLERANCE
    assert np.array_equal(cut, uncut[:, : int(stored["save_embedding_dim"])], equal_nan=True)
    assert np.isnan(uncut[~compare]).all(), "the reference embeds zeros where there is no data"
    require_codes(
        quantise(cut, model.config.output.coding),
        stored[f"{tile}.{source}.int8"],
        stored[f"{tile}.{source}.scale"],
        compare,
    )


@pytest.mark.parametrize("name", ["v2_student", "v2_student_qknorm"])
@pytest.mark.parametrize("tile", TILES)
def test_raw_tiles_give_the_reference_embeddings_and_codes_of_the_students(parity, tile, name):
    stored = stored_numbers(parity, name)
    model = released_model(parity, name, Family.V2_STUDENT)
    pixels = tile_pixels(np.load(parity / "tiles.npz"), tile)

    compare = stored[f"{tile}.compare"].reshape(-1)
    expected = stored[f"{tile}.embedding"].reshape(-1, 128)
    for dim in (16, 32, 64, 128):
        found = embed_pixels(model, pixels, batch_size=8, dim=dim)
        assert np.abs(found - expected[:, :dim])[compare].max() < TOLERANCE
        assert np.isnan(found[~compare]).all(), "the reference left garbage where there is no data"
        codes, scale = stored[f"{tile}.int8_{dim}"], stored[f"{tile}.scale_{dim}"]
        require_codes(quantise(found, model.config.output.coding), codes, scale, compare)


@pytest.mark.parametrize("name", ["v2_teacher", "v2_teacher_no_final_ln"])
@pytest.mark.parametrize("tile", TILES)
def test_raw_tiles_give_the_reference_embeddings_of_the_teacher(parity, tile, name):
    stored = stored_numbers(parity, name)
    model = released_model(parity, name, Family.V2_TEACHER)
    tiles = np.load(parity / "tiles.npz")
    expected = stored[f"{tile}.embedding"].reshape(-1, 32)
    seen = has_data(tiles, tile)

    found = embed_pixels(model, tile_pixels(tiles, tile), batch_size=8)

    assert np.abs(found - expected)[seen].max() < TOLERANCE
    assert np.isnan(found[~seen]).all()
    assert not expected[~seen].any(), "the reference writes zeros where there is no data"


@pytest.mark.parametrize("name", ["v2_student", "v2_student_qknorm", "v2_teacher"])
def test_pixels_with_days_of_their_own_give_the_reference_embeddings(parity, name):
    stored = stored_numbers(parity, name)
    model = released_model(parity, name, CHECKPOINTS[name])

    def flat(part, dtype):
        return (
            stored[f"pixels.{part}"].reshape(-1, stored[f"pixels.{part}"].shape[-1]).astype(dtype)
        )

    def days(part):
        stored_days = stored[f"pixels.{part}_doys"]
        offsets = np.arange(len(stored_days) + 1) * stored_days.shape[1]
        return stored_days.reshape(-1).astype(np.uint16), offsets

    optical_days, optical_offsets = days("s2")
    pixels = DPixels(
        optical=Series(
            values=flat("s2_bands", np.uint16),
            day_of_year=optical_days,
            offsets=optical_offsets,
            valid=np.ones(len(optical_days), np.bool_),
        ),
        ascending=radar_series(flat("s1_asc_bands", np.int16), *days("s1_asc")),
        descending=radar_series(flat("s1_desc_bands", np.int16), *days("s1_desc")),
    )

    found = embed_pixels(model, pixels, batch_size=8)

    assert np.abs(found - stored["pixels.embedding"]).max() < TOLERANCE


@pytest.mark.parametrize("name", ["v2_student", "v2_student_qknorm", "v2_teacher"])
def test_standardised_pixels_give_the_reference_embeddings(parity, name):
    stored = stored_numbers(parity, name)
    model = released_model(parity, name, CHECKPOINTS[name])

    def tokens(*parts):
        rows = [
            np.concatenate(
                [stored[f"pixels_std.{part}_bands"], stored[f"pixels.{part}_doys"][..., None]],
                axis=-1,
                dtype=np.float32,
            )
            for part in parts
        ]
        joined = np.concatenate(rows, axis=1)
        num = np.array([joined.shape[1]])
        positions = v2_positions(num, int(V2_SAMPLING.lengths_of(num)[0]))
        return torch.from_numpy(joined[:, positions[0]])

    with torch.no_grad():
        found = model.encoder(tokens("s2"), tokens("s1_asc", "s1_desc")).numpy()

    assert np.abs(found - stored["pixels_std.embedding"]).max() < TOLERANCE


def require_codes(coded, codes, scale, compare):
    """At most one step apart, at most 0.2 % of codes, scales within 1e-4."""
    steps = np.abs(coded.codes.astype(int) - codes.reshape(coded.codes.shape))[compare]
    assert steps.max() <= 1
    assert (steps > 0).mean() <= 0.002
    np.testing.assert_allclose(coded.scale[compare], scale.reshape(-1)[compare], rtol=1e-4)
