"""All diagnostics of one model, as plain JSON."""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.diagnostics.coding import measure_coding
from tessera_core.diagnostics.fields import measure_fields
from tessera_core.diagnostics.reading import Reading
from tessera_core.diagnostics.spectrum import measure_rank
from tessera_core.diagnostics.stability import MIN_ROWS, measure_stability, split_dates
from tessera_core.diagnostics.stripes import coverage_of, measure_stripes
from tessera_core.diagnostics.uniformity import measure_uniformity
from tessera_core.domain.dpixel import DPixels
from tessera_core.domain.embedding import Coding
from tessera_core.domain.geometry import Ints, draw_groups, draw_rows
from tessera_core.errors import InputError

if TYPE_CHECKING:
    from tessera_core.model.embed import ModelArtifact

MAX_ROWS: Final = 4096
"""D-pixels that are looked at: numbers move in the third decimal from one draw to another."""

MAX_SPLIT: Final = 2048
"""D-pixels whose date halves are embedded; embedding is what takes time."""

EMBED_BATCH: Final = 256
UNSEEN: Final = "no d-pixel could be embedded from both halves of its dates"

Halves = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


def diagnose(
    embedding_ND: npt.NDArray[np.float32],
    field_N: Ints,
    coverage_N3: Ints,
    halves: Halves | None,
    *,
    coding: Coding,
    seed: int,
) -> dict[str, Any]:
    """Return every diagnostic of some embeddings as plain JSON.

    Memory and time do not grow with N beyond drawing rows. Rows without data (NaN) are left out.

    Args:
        embedding_ND: Embeddings of N d-pixels.
        field_N: Field of each, or block where there are no fields.
        coverage_N3: Observations, from ``coverage_of``.
        halves: Embeddings of two date halves of the same M d-pixels, any M; None for none.
        coding: The model's int8 rule.
        seed: Chooses the rows.

    Returns:
        Name -> {"value", "reason", more numbers}; ``num_pixels`` -> rows looked at.

    Raises:
        InputError: The arrays do not describe the same d-pixels, or fewer than two have data.
    """
    _require_equal_lengths(embedding_ND, field_N, coverage_N3)
    known = np.flatnonzero(np.isfinite(embedding_ND).all(axis=1))
    if len(known) < 2:
        raise InputError(
            f"{len(known)} of {len(embedding_ND)} d-pixels have an embedding, expected 2 or more"
        )
    rows = known[draw_groups(field_N[known], MAX_ROWS, seed)]
    values_ND, fields = embedding_ND[rows], field_N[rows]
    readings = {
        "rank_me": measure_rank(values_ND),
        "uniformity": measure_uniformity(values_ND),
        "field_ratio": measure_fields(values_ND, fields),
        "stability": _stability(halves, seed),
        "stripes": measure_stripes(values_ND, fields, coverage_N3[rows]),
        "int8_loss": measure_coding(values_ND, coding),
    }
    told: dict[str, Any] = {name: reading.to_dict() for name, reading in readings.items()}
    return {**told, "num_pixels": len(rows)}


def diagnose_model(
    artifact: "ModelArtifact",
    pixels: DPixels,
    field_N: Ints,
    *,
    embedding_ND: npt.NDArray[np.float32] | None = None,
    seed: int,
) -> dict[str, Any]:
    """Embed what is needed and return every diagnostic of a model as plain JSON.

    Embeds at most ``MAX_ROWS`` d-pixels once and ``MAX_SPLIT`` of them twice more.

    Args:
        artifact: The model.
        pixels: N d-pixels.
        field_N: Field of each.
        embedding_ND: Their embeddings by this model, where they are known already.
        seed: Chooses the d-pixels.

    Raises:
        InputError: As ``diagnose`` does.
    """
    from tessera_core.model.embed import embed_pixels

    _require_equal_lengths(field_N, np.arange(len(pixels)))
    rows = draw_groups(field_N, MAX_ROWS, seed)
    drawn = pixels.take(rows)
    if embedding_ND is None:
        values_ND = embed_pixels(artifact, drawn, batch_size=EMBED_BATCH, progress="diagnose")
    else:
        _require_equal_lengths(embedding_ND, field_N)
        values_ND = embedding_ND[rows]
    first, second, _ = split_dates(drawn.take(draw_rows(len(rows), MAX_SPLIT, seed)))
    halves = tuple(
        embed_pixels(artifact, half, batch_size=EMBED_BATCH, progress="date halves")
        for half in (first, second)
    )
    return diagnose(
        values_ND,
        field_N[rows],
        coverage_of(drawn),
        (halves[0], halves[1]),
        coding=artifact.config.output.coding,
        seed=seed,
    )


def _stability(halves: Halves | None, seed: int) -> Reading:
    if halves is None:
        return Reading.missing("date halves were not embedded")
    first, second = halves
    _require_equal_lengths(first, second)
    known = np.flatnonzero(np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1))
    if len(first) >= MIN_ROWS > len(known):
        return Reading.missing(UNSEEN)
    rows = known[draw_rows(len(known), MAX_SPLIT, seed)]
    return measure_stability(first[rows], second[rows])


def _require_equal_lengths(*arrays: npt.NDArray[Any]) -> None:
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        raise InputError(
            f"embeddings, fields and d-pixels have {lengths} rows; expected equal numbers"
        )
