"""Two models on the same d-pixels: what they share, what each costs, and how long each takes."""

import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from tessera_core.compare.bridge.verdict import (
    MIN_ANCHORS_PER_VALUE,
    Bridge,
    build_bridge,
    map_error,
)
from tessera_core.diagnostics.reading import DIGITS, rounded
from tessera_core.domain.dpixel import DPixels
from tessera_core.domain.geometry import Ints, draw_groups
from tessera_core.domain.sampling import SPARSE_LENGTH
from tessera_core.errors import ArtifactError, InputError
from tessera_core.model.artifact import load_artifact
from tessera_core.model.embed import ModelArtifact, embed_pixels
from tessera_core.pretrain.flops import encoder_flops
from tessera_core.scoring.features.monthly import NUM_RAW_FEATURES, raw_features

MAX_ANCHORS: Final = 4096
EMBED_BATCH: Final = 256
FLOPS_LENGTH: Final = SPARSE_LENGTH
"""Observations per sensor that arithmetic is counted for: the same for all models, so that
versions compare across years. A cloudless year has more."""

TIMED_PIXELS: Final = 256
NUM_PAIRS: Final = 7


def compare_models(
    champion: ModelArtifact,
    challenger: ModelArtifact,
    pixels: DPixels,
    groups: Ints,
    classes: Ints | None,
    seed: int,
) -> tuple[dict[str, Any], Bridge]:
    """Compare two versions on the same d-pixels.

    At most ``MAX_ANCHORS`` d-pixels are embedded by both; those that either has no data for are
    left out. All but ``time_ratio`` follows from the arguments alone.

    Args:
        champion: The version that is served.
        challenger: The version that may follow it.
        pixels: N d-pixels that neither should have trained on.
        groups: Field or block of each, (N,).
        classes: Class of each, (N,), negative where it has none; None for no classes.
        seed: Draws anchors and deals them to folds.

    Returns:
        The content of comparison.json, and the bridge with its map. ``raw_error`` is what an
        affine map from the raw series' monthly values to the champion's embeddings leaves: a
        bridge that is not clearly below it owes nothing to the challenger. None with few anchors.

    Raises:
        InputError: The arrays do not fit together, or too few anchors are left for a bridge.
    """
    lengths = [len(pixels), len(groups), *([] if classes is None else [len(classes)])]
    if len(set(lengths)) > 1:
        raise InputError(f"d-pixels, groups and classes number {lengths}; expected equal numbers")
    rows = draw_groups(groups, MAX_ANCHORS, seed)
    drawn = pixels.take(rows)
    old, new = (
        embed_pixels(model, drawn, batch_size=EMBED_BATCH, seed=seed, progress=f"embed {name}")
        for name, model in (("champion", champion), ("challenger", challenger))
    )
    known = np.flatnonzero(_has_data(old) & _has_data(new))
    rows = rows[known]
    bridge = build_bridge(
        old[known], new[known], groups[rows], None if classes is None else classes[rows], seed
    )
    comparison = {
        "champion": describe_model(champion),
        "challenger": describe_model(challenger),
        "bridge": {
            **bridge.to_dict(),
            "raw_error": _raw_error(old[known], drawn.take(known), groups[rows], seed),
            "left_out": len(drawn) - len(known),
        },
        "time_ratio": time_ratio(champion, challenger, drawn),
    }
    return comparison, bridge


def describe_model(artifact: ModelArtifact) -> dict[str, Any]:
    """Return digest, parameters, operations per d-pixel and what came of the canaries.

    ``canaries_pass`` is true for every model that was loaded, since loading refuses one whose
    canaries miss (``canary_fault`` says so without raising); null for one never written.
    """
    return {
        "model_digest": artifact.digest,
        "family": artifact.config.family,
        "embedding_dim": artifact.config.output.dim,
        "num_parameters": sum(part.numel() for part in artifact.encoder.parameters()),
        "flops_per_pixel": encoder_flops(artifact.config.encoder, FLOPS_LENGTH),
        "canaries_pass": True if artifact.digest else None,
    }


def canary_fault(folder: Path, device: torch.device | None = None) -> str:
    """Return why a stored model must not be used on a device, or nothing when it may."""
    try:
        load_artifact(folder, device)
    except ArtifactError as error:
        return str(error)
    return ""


def time_ratio(
    champion: ModelArtifact,
    challenger: ModelArtifact,
    pixels: DPixels,
    *,
    num_pairs: int = NUM_PAIRS,
) -> dict[str, float | int]:
    """Return the challenger's time over the champion's, in turns on the same d-pixels.

    Other work on the machine slows both of a pair alike, so ratios of pairs are steadier than
    times. The range is that of the pairs, not an interval.

    Args:
        champion: The first of each pair.
        challenger: The second of each pair.
        pixels: The first ``TIMED_PIXELS`` of them are embedded.
        num_pairs: Pairs after one that warms up.
    """
    few = pixels.span(0, min(TIMED_PIXELS, len(pixels)))
    # The first pair pays for what is loaded and compiled.
    pairs = np.array(
        [(_seconds(champion, few), _seconds(challenger, few)) for _ in range(num_pairs + 1)][1:]
    )
    ratios = pairs[:, 1] / pairs[:, 0]
    measured = {
        "median": float(np.median(ratios)),
        "low": float(ratios.min()),
        "high": float(ratios.max()),
        "num_pairs": num_pairs,
        "num_pixels": len(few),
    }
    return rounded(measured)


def _raw_error(
    champion_ND: npt.NDArray[np.float32], pixels: DPixels, groups: Ints, seed: int
) -> float | None:
    if len(pixels) < MIN_ANCHORS_PER_VALUE * (NUM_RAW_FEATURES + 1):
        return None
    return round(map_error(raw_features(pixels), champion_ND, groups, seed), DIGITS)


def _seconds(model: ModelArtifact, pixels: DPixels) -> float:
    began = time.perf_counter()
    embed_pixels(model, pixels, batch_size=EMBED_BATCH)
    return time.perf_counter() - began


def _has_data(values_ND: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    return np.asarray(np.isfinite(values_ND).all(axis=1))
