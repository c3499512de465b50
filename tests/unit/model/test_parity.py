"""The encoder family and its engine against the reference's v2 student (../shared/data/parity)."""

import numpy as np
import pytest
import torch

from tessera_core.domain.dpixel import DPixels, Series, radar_series
from tessera_core.domain.embedding import quantise
from tessera_core.domain.norms import BandStats, NormStats
from tessera_core.model.embed import ModelArtifact, embed_pixels
from tessera_core.model.encoder import FAMILY, Encoder, EncoderConfig

TOLERANCE = 2e-5
"""Absolute, as the fixtures' README states; every wrong variant tried was off by 0.03 or more."""

STUDENT_NORMS = NormStats(
    s2=BandStats(
        mean=(1633.0042, 1341.1090, 1539.5536, 3054.8269, 3117.4658,
              2004.1648, 2694.7275, 2945.1504, 2266.6079, 1657.3094),
        std=(1999.4603, 2014.7549, 1929.2201, 1754.2493, 1649.9807,
             1936.8988, 1748.6041, 1708.6991, 1207.5250, 1108.6046),
    ),
    s1_ascending=BandStats(mean=(5909.3921, 3405.0322), std=(1507.1750, 1531.2615)),
    s1_descending=BandStats(mean=(5816.1382, 3277.7576), std=(1554.6475, 1546.4733)),
)  # fmt: skip
"""Of the v2 students (method.md 1.7)."""

RENAMED = (
    ("s2_backbone.", "s2."),
    ("s1_backbone.", "s1."),
    ("transformer_encoder.layers", "layers"),
    ("attn_pool.query", "pool"),
    ("dim_reducer", "reducer"),
)


@pytest.fixture(scope="module")
def parity(shared_data):
    return shared_data / "parity"


@pytest.fixture(scope="module")
def student(parity):
    """The reference's student with its own weights, in our class."""
    stored = torch.load(parity / "v2_student.pt", weights_only=True)
    config = EncoderConfig(
        family=FAMILY, model_dim=64, num_layers=2, num_heads=4, feedforward_dim=96,
        embedding_dim=128, dropout=0.1,
    )  # fmt: skip
    weights = {}
    for name, value in stored["model"].items():
        for theirs, ours in RENAMED:
            name = name.replace(theirs, ours)
        weights[name] = value
    encoder = Encoder(config)
    encoder.load_state_dict(weights, strict=True)
    return ModelArtifact(encoder=encoder.eval(), config=config, norms=STUDENT_NORMS, digest="")


def every_pixel(days, height, width):
    """Days of (T,) dates and offsets of height x width d-pixels that share them."""
    num_pixels = height * width
    offsets = np.arange(num_pixels + 1, dtype=np.int64) * len(days)
    return np.tile(days.astype(np.uint16), num_pixels), offsets


def by_pixel(cube):
    """(time, row, column, ...) as one (row x column x time, ...) array, pixel by pixel."""
    return np.moveaxis(cube, 0, 2).reshape(-1, *cube.shape[3:])


def tile_pixels(tiles, name):
    """All d-pixels of a stored tile; ``noasc`` and ``nosar`` are ``mixed`` without radar."""
    stored = "dense" if name == "dense" else "mixed"
    bands, masks = tiles[f"{stored}.bands"], tiles[f"{stored}.masks"]
    days, offsets = every_pixel(tiles[f"{stored}.doys"], *bands.shape[1:3])
    radar = {}
    for orbit in ("ascending", "descending"):
        cube, dates = tiles[f"{stored}.sar_{orbit}"], tiles[f"{stored}.sar_{orbit}_doy"]
        if name == "nosar" or (name == "noasc" and orbit == "ascending"):
            cube, dates = cube[:0], dates[:0]
        radar[orbit] = radar_series(by_pixel(cube), *every_pixel(dates, *cube.shape[1:3]))
    optical = Series(
        values=by_pixel(bands), day_of_year=days, offsets=offsets, valid=by_pixel(masks) == 1
    )
    return DPixels(optical=optical, **radar)


@pytest.mark.parametrize("case", range(4))
def test_tokens_give_the_reference_embeddings(parity, student, case):
    stored = np.load(parity / "v2_student.npz")
    tokens = [torch.from_numpy(stored[f"case{case}.{sensor}"]) for sensor in ("s2", "s1")]

    with torch.no_grad():
        found = student.encoder(*tokens).numpy()

    assert np.abs(found - stored[f"case{case}.repr"]).max() < TOLERANCE


@pytest.mark.parametrize("tile", ["mixed", "dense", "noasc", "nosar"])
def test_raw_tiles_give_the_reference_embeddings_and_codes(parity, student, tile):
    stored = np.load(parity / "v2_student.npz")
    pixels = tile_pixels(np.load(parity / "tiles.npz"), tile)

    found = embed_pixels(student, pixels, batch_size=8)

    compare = stored[f"{tile}.compare"].reshape(-1)
    expected = stored[f"{tile}.embedding"].reshape(-1, 128)
    assert np.abs(found - expected)[compare].max() < TOLERANCE
    assert np.isnan(found[~compare]).all(), "the reference left garbage where there is no data"
    coded = quantise(found)
    steps = np.abs(coded.codes.astype(int) - stored[f"{tile}.int8_128"].reshape(-1, 128))[compare]
    assert steps.max() <= 1
    assert (steps > 0).mean() <= 0.002
    scale = stored[f"{tile}.scale_128"].reshape(-1)[compare]
    np.testing.assert_allclose(coded.scale[compare], scale, rtol=1e-4)
