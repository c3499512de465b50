"""A model and observations to embeddings."""

from dataclasses import asdict
from typing import Literal, overload

import numpy as np
import numpy.typing as npt

from tessera_core.domain.dpixel import DPixels
from tessera_core.domain.embedding import Embedding, quantise
from tessera_core.domain.tile import TileSeries
from tessera_core.export.directory import BATCH_SIZE, Inference, embed_series
from tessera_core.model.embed import ModelArtifact, embed_pixels
from tessera_core.records.samples import TileSamples

Observations = DPixels | TileSamples | TileSeries


@overload
def embed(
    model: ModelArtifact,
    data: Observations,
    *,
    as_float: Literal[False] = False,
    dim: int | None = None,
    seed: int = 0,
    repeats: int = 1,
) -> Embedding: ...


@overload
def embed(
    model: ModelArtifact,
    data: Observations,
    *,
    as_float: Literal[True],
    dim: int | None = None,
    seed: int = 0,
    repeats: int = 1,
) -> npt.NDArray[np.float32]: ...


def embed(
    model: ModelArtifact,
    data: Observations,
    *,
    as_float: bool = False,
    dim: int | None = None,
    seed: int = 0,
    repeats: int = 1,
) -> Embedding | npt.NDArray[np.float32]:
    """Embed observations.

    Args:
        model: From ``load``.
        data: From ``open_tile``, or one of ``open_samples``.
        as_float: Return float32 values in the place of int8 codes.
        dim: One of the model's usable widths; None for the published one.
        seed: Decides what a random sampling rule draws; others ignore it.
        repeats: Draws to average, 1 or more, for a random sampling rule.

    Returns:
        Codes -127..127 (..., dim) and scales (...), whose product is the value; or the values
        (..., dim). A tile has rows and columns in front, samples d-pixels. The scale, or every
        value, is NaN where there is no data.

    Raises:
        ArtifactError: The model cannot be cut to ``dim``.
    """
    how = Inference(dim=dim, seed=seed, repeats=repeats)
    if isinstance(data, TileSeries):
        series = (data.optical, data.ascending, data.descending)
        values = embed_series(series, data.inside, model, how, label=data.name)
    else:
        pixels = data.pixels if isinstance(data, TileSamples) else data
        values = embed_pixels(model, pixels, batch_size=BATCH_SIZE, progress="embed", **asdict(how))
    return values if as_float else quantise(values, model.config.output.coding)
