"""Compare what a stage made again with what was recorded.

*Identical* is a matter of bytes. *Equivalent* needs a rule for what the bytes hold, and there are
three: the model (its embeddings of the recorded canaries), the export (codes and scales of every
tile) and the evaluation (its numbers). Tolerances are those that artifacts are loaded with
(method.md 10): narrow on the device that computed the original, wide on another.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.embedding import Embedding, quantise
from tessera_core.errors import ArtifactError, TesseraError
from tessera_core.model.artifact import (
    CANARY_BATCH,
    OTHER_DEVICE,
    SAME_DEVICE,
    Tolerance,
    load_artifact,
    read_canaries,
)
from tessera_core.model.embed import embed_pixels
from tessera_core.records.evaluation import EVALUATION_NAME
from tessera_core.records.files import FileDigest, read_json
from tessera_core.records.paths import Paths

MIN_COSINE: Final = 0.9999
"""Of dequantised embeddings, on any device (method.md 10)."""

MAX_SCORE_DRIFT: Final = 0.01
"""Largest difference of two scores, absolute or relative: less than any interval we report."""

EXACT_IN_MODEL: Final = ("bands.json", "config.json", "norms.json")
SCALES_END: Final = "_scales.npy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """How far two sets of embeddings are apart."""

    num_codes: int
    """Codes compared, of pixels with data."""

    max_steps: int
    """Largest distance of two codes."""

    num_far: int
    """Codes more than one step apart."""

    num_changed: int
    """Codes that are not equal."""

    scale_drift: float
    """Largest relative difference of two scales."""

    min_cosine: float
    """Smallest cosine of two dequantised embeddings."""

    has_same_mask: bool
    """True when the same pixels have data."""

    def within(self, tolerance: Tolerance) -> bool:
        """Return whether both count as one; as with canaries, one code always may be off."""
        return (
            self.has_same_mask
            and self.max_steps <= tolerance.max_steps
            and self.num_far <= max(1, (1 - tolerance.min_share_within_one) * self.num_codes)
            and self.num_changed <= max(1, tolerance.max_changed * self.num_codes)
            and self.scale_drift <= tolerance.max_scale_drift
            and self.min_cosine >= MIN_COSINE
        )

    def __str__(self) -> str:
        """Say it in a few words."""
        if not self.has_same_mask:
            return "other pixels have data"
        return (
            f"{self.num_changed} of {self.num_codes} codes changed, up to {self.max_steps} steps, "
            f"scale drift {self.scale_drift:.3%}, cosine at least {self.min_cosine:.5f}"
        )


def different_files(
    recorded: Mapping[str, FileDigest], made: Mapping[str, FileDigest]
) -> tuple[str, ...]:
    """Return the paths whose content differs or that only one side has, sorted."""
    return tuple(
        path
        for path in sorted({*recorded, *made})
        if path not in recorded or path not in made or recorded[path].sha256 != made[path].sha256
    )


def different_facts(recorded: Mapping[str, Any], made: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the facts that differ, as ``fact NAME``."""
    names = sorted({*recorded, *made})
    return tuple(f"fact {name}" for name in names if recorded.get(name) != made.get(name))


def deviation(first: Embedding, second: Embedding) -> Deviation:
    """Compare embeddings of the same pixels: codes (..., dimension), scales (...)."""
    has_data = np.isfinite(first.scale)
    has_same_mask = first.codes.shape == second.codes.shape and bool(
        (has_data == np.isfinite(second.scale)).all()
    )
    if not has_same_mask or not has_data.any():
        return Deviation(num_codes=0, max_steps=0, num_far=0, num_changed=0, scale_drift=0.0,
                         min_cosine=1.0, has_same_mask=has_same_mask)  # fmt: skip
    one, other = (each.codes[has_data].astype(np.float64) for each in (first, second))
    steps = np.abs(one - other)
    drift = np.abs(second.scale[has_data].astype(np.float64) / first.scale[has_data] - 1)
    return Deviation(
        num_codes=steps.size,
        max_steps=int(steps.max()),
        num_far=int((steps > 1).sum()),
        num_changed=int((steps > 0).sum()),
        scale_drift=float(drift.max()),
        min_cosine=float(_cosine(one, other).min()),
        has_same_mask=True,
    )


def equivalence(stage: str, recorded: Paths, made: Paths, *, same_device: bool) -> tuple[bool, str]:
    """Return whether other bytes amount to the same, and what that rests on.

    Args:
        stage: Which stage made them.
        recorded: Workspace with the recorded outputs.
        made: Workspace with those of the replay.
        same_device: True on the kind of device, with the versions, that made the original.
    """
    if stage == "evaluate":
        # The same device gives the same scores, or something else has changed.
        return (False, "") if same_device else _scores_agree(recorded, made)
    if stage not in ("pretrain", "export"):
        return False, ""
    try:
        found = (_models if stage == "pretrain" else _exports)(recorded, made)
    except (TesseraError, OSError, ValueError) as error:
        return False, str(error)
    return found.within(SAME_DEVICE if same_device else OTHER_DEVICE), str(found)


def _models(recorded: Paths, made: Paths) -> Deviation:
    """Compare two models by what they make of the recorded canaries."""
    for name in EXACT_IN_MODEL:
        if (recorded.model / name).read_bytes() != (made.model / name).read_bytes():
            raise ArtifactError(f"the model's {name} is another")
    canaries = read_canaries(recorded.model)
    first, second = (
        quantise(
            embed_pixels(artifact, canaries, batch_size=CANARY_BATCH),
            artifact.config.output.coding,
        )
        for artifact in (load_artifact(recorded.model), load_artifact(made.model))
    )
    return deviation(first, second)


def _exports(recorded: Paths, made: Paths) -> Deviation:
    """Compare two exports tile by tile; the worst tile speaks for all."""
    found = []
    for place in sorted(recorded.exports.glob(f"*/**/*{SCALES_END}")):
        again = made.exports / place.relative_to(recorded.exports)
        pair = [
            Embedding(
                codes=np.load(scales.with_name(scales.name.replace(SCALES_END, ".npy"))),
                scale=np.load(scales),
            )
            for scales in (place, again)
        ]
        found.append(deviation(*pair))
    if not found:
        raise ArtifactError("the recorded export holds no NPY tile to compare")
    return max(found, key=lambda one: (not one.has_same_mask, one.max_steps, one.num_changed))


def _scores_agree(recorded: Paths, made: Paths) -> tuple[bool, str]:
    """Return whether all numbers of two evaluations agree, and where they first do not."""
    first, second = (
        read_json(paths.evaluation / EVALUATION_NAME)["tasks"] for paths in (recorded, made)
    )
    if place := _disagreement(first, second, "tasks"):
        return False, f"scores differ at {place}"
    return True, f"all scores agree within {MAX_SCORE_DRIFT}"


def _disagreement(first: Any, second: Any, place: str) -> str:
    """Return where two JSON values differ by more than rounding; empty where they do not."""
    if isinstance(first, float) and isinstance(second, float):
        near = math.isclose(first, second, rel_tol=MAX_SCORE_DRIFT, abs_tol=MAX_SCORE_DRIFT)
        return "" if near else place
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        pairs = [(first[key], second[key], f"{place}.{key}") for key in first]
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        pairs = [(*pair, f"{place}[{i}]") for i, pair in enumerate(zip(first, second, strict=True))]
    else:
        return "" if first == second else place
    return next((found for pair in pairs if (found := _disagreement(*pair))), "")


def _cosine(
    one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return cosines along the last axis; a scale cancels out. Two zero vectors are alike."""
    lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    products = (one * other).sum(axis=-1)
    is_same = (one == other).all(axis=-1)
    return np.where(is_same, 1.0, products / np.where(lengths > 0, lengths, 1.0))
