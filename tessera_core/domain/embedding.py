"""Embeddings as they are stored: per-pixel symmetric int8 with a float32 scale."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.errors import RecordError

CODE_MAX: Final = 127
"""Codes lie in -127..127; -128 is never written (interop.md 6)."""

V1_SCALE_FLOOR: Final = 1e-8
"""Smallest scale of the v1 rule; also that of training's fake quantisation (method.md 5)."""

V2_PEAK_FLOOR: Final = 1e-12
"""Smallest largest value of the v2 rule; keeps a zero vector from dividing by zero."""


class Coding(StrEnum):
    """Which release's rule gives a scale; they differ where no value reaches 1.27e-6."""

    V1 = "v1"
    """``max(max|v| / 127, 1e-8)``: the scale is floored."""

    V2 = "v2"
    """``max(max|v|, 1e-12) / 127``: the largest value is floored."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embedding:
    """Quantised embeddings of any number of d-pixels."""

    codes: npt.NDArray[np.int8]
    """(..., dimension), -127..127; 0 where there is no data."""

    scale: npt.NDArray[np.float32]
    """(...), positive; NaN = no data."""

    def __post_init__(self) -> None:
        """Check types, shapes and the code range."""
        if self.codes.dtype != np.int8 or self.scale.dtype != np.float32:
            raise RecordError(
                f"an embedding needs int8 codes and float32 scales, got {self.codes.dtype} "
                f"and {self.scale.dtype}"
            )
        if self.codes.shape[:-1] != self.scale.shape:
            raise RecordError(
                f"codes of shape {self.codes.shape} need scales of shape "
                f"{self.codes.shape[:-1]}, got {self.scale.shape}"
            )
        if self.codes.size and int(self.codes.min()) < -CODE_MAX:
            raise RecordError("codes hold -128, expected -127..127; quantise with ``quantise``")

    def dequantise(self) -> npt.NDArray[np.float32]:
        """Return float32 values (..., dimension); NaN where there is no data."""
        return self.codes.astype(np.float32) * self.scale[..., None]


def quantise(values: npt.NDArray[np.float32], coding: Coding = Coding.V2) -> Embedding:
    """Return int8 codes and scales; a vector holding NaN becomes no data.

    Rounded half to even (method.md 5), so ``|dequantised - value| <= scale / 2``.

    Args:
        values: (..., dimension), finite or NaN.
        coding: Rule of the scale.
    """
    has_data = np.asarray(np.isfinite(values).all(axis=-1))
    filled = np.where(has_data[..., None], values, np.float32(0))
    scale = _scale_of_peak(np.abs(filled).max(axis=-1), coding)
    # v1 clips at -128, which it never reaches either: no value is further out than the largest,
    # which is 127 scales away, and the floor only brings it nearer. So one clip serves both.
    codes = np.clip(np.rint(filled / scale[..., None]), -CODE_MAX, CODE_MAX).astype(np.int8)
    return Embedding(
        codes=codes, scale=np.where(has_data, scale, np.float32(np.nan)).astype(np.float32)
    )


def _scale_of_peak(peak: npt.NDArray[np.float32], coding: Coding) -> npt.NDArray[np.float32]:
    """Return the step between two codes, (...), from the largest absolute value, (...)."""
    code_max = np.float32(CODE_MAX)
    if coding is Coding.V1:
        scale = np.maximum(peak / code_max, np.float32(V1_SCALE_FLOOR))
    else:
        scale = np.maximum(peak, np.float32(V2_PEAK_FLOOR)) / code_max
    return np.asarray(scale, np.float32)
