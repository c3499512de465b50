"""Miniature models of every release, and d-pixels written down observation by observation."""

from dataclasses import replace

import numpy as np
import torch

from tessera_core.domain.bands import NUM_S1, NUM_S2
from tessera_core.domain.dpixel import DPixels, Series
from tessera_core.model.embed import ModelArtifact
from tessera_core.model.family import Family
from tessera_core.model.sequences import sequences_of
from tessera_core.testing.checkpoints import tiny_release
from tessera_core.testing.models import tiny_encoder
from tessera_core.testing.pixels import NORMS

SHORT = 6
"""K of the miniature v1.0 models, so that few observations are already more than it."""

FAMILIES = (Family.V1_0_EARLY, Family.V1_0_QAT, Family.V1_1_MPC, Family.V2_STUDENT)
"""One of each pooling and each sampling rule."""


def made_model(family, seed=1):
    """An untrained miniature; v1.0 draws ``SHORT`` observations. Norms tell bands and orbits."""
    config = tiny_release(family)
    if config.sampling.is_random:
        config = replace(config, sampling=replace(config.sampling, lengths=(SHORT,)))
    return ModelArtifact(
        encoder=tiny_encoder(seed, config.encoder), config=config, norms=NORMS, digest=""
    )


def written_series(pixels, num_bands, dtype):
    """A series from (day, value of all bands, valid) per observation, one list per d-pixel."""
    flat = [observation for pixel in pixels for observation in pixel]
    days = np.array([day for day, _, _ in flat], np.uint16)
    values = np.array([value for _, value, _ in flat], dtype).reshape(-1, 1)
    return Series(
        values=np.repeat(values, num_bands, axis=1),
        day_of_year=days,
        offsets=np.cumsum([0, *(len(pixel) for pixel in pixels)]).astype(np.int64),
        valid=np.array([valid for _, _, valid in flat], np.bool_),
    )


def written_pixels(optical, ascending, descending):
    """D-pixels from three such lists."""
    return DPixels(
        optical=written_series(optical, NUM_S2, np.uint16),
        ascending=written_series(ascending, NUM_S1, np.int16),
        descending=written_series(descending, NUM_S1, np.int16),
    )


def one_by_one(model, pixels, seed=0):
    """Embeddings as method.md 3 says them: whole sequences, one d-pixel at a time.

    ``seed`` is that of one draw, as ``Sequences.positions`` takes it.
    """
    *sensors, has_data = sequences_of(pixels, model.norms, model.config.sampling)
    answers = np.full((len(pixels), model.config.encoder.embedding_dim), np.nan, np.float32)
    for pixel in np.flatnonzero(has_data):
        tokens = [whole_sequence(sensor, pixel, model.config.sampling, seed) for sensor in sensors]
        with torch.no_grad():
            answers[pixel] = model.encoder(*tokens)[0].numpy()
    return answers


def whole_sequence(sensor, pixel, sampling, seed):
    """All L tokens of one d-pixel, (1, L, C), repetitions included."""
    row = np.array([pixel])
    num = sensor.num_usable()[row]
    length = max(int(sampling.lengths_of(num)[0]), 1)
    if num[0] == 0:
        return torch.zeros(1, length, sensor.tokens_MC.shape[1])
    place = sensor.offsets[pixel] + sensor.positions(row, sampling, length, seed)
    return torch.from_numpy(sensor.tokens_MC[place])
