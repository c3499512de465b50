"""Embeddings as they are stored: per-pixel symmetric int8 with a float32 scale."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tessera_core.errors import RecordError

CODE_MAX: Final = 127
"""Codes lie in -127..127; -128 is never written (interop.md 6)."""

SCALE_FLOOR: Final = 1e-12
"""Keeps an all-zero vector from dividing by zero (method.md 5)."""


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


def quantise(values: npt.NDArray[np.float32]) -> Embedding:
    """Return int8 codes and scales; a vector holding NaN becomes no data.

    ``scale = max(|v|, 1e-12) / 127``, rounded half to even (method.md 5), so
    ``|dequantised - value| <= scale / 2``.

    Args:
        values: (..., dimension), finite or NaN.
    """
    has_data = np.asarray(np.isfinite(values).all(axis=-1))
    filled = np.where(has_data[..., None], values, np.float32(0))
    scale = np.maximum(np.abs(filled).max(axis=-1), np.float32(SCALE_FLOOR)) / np.float32(CODE_MAX)
    codes = np.clip(np.rint(filled / scale[..., None]), -CODE_MAX, CODE_MAX).astype(np.int8)
    return Embedding(
        codes=codes, scale=np.where(has_data, scale, np.float32(np.nan)).astype(np.float32)
    )
