"""Raw observations of one batch, padded to its longest series: what travels to the device.

Shapes: B d-pixels, T observations (padded; may be 0), C bands.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tessera_core.errors import RecordError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PaddedSeries:
    """One sensor's observations of B d-pixels, oldest first, padding last."""

    values: npt.NDArray[np.uint16] | npt.NDArray[np.int16]
    """(B, T, C), stored units; 0 where padded."""

    day_of_year: npt.NDArray[np.uint16]
    """(B, T), 1..366; 0 where padded."""

    valid: npt.NDArray[np.bool_]
    """(B, T), clear for S2, present for S1; False where padded."""

    def __post_init__(self) -> None:
        """Check that the arrays agree."""
        shape = self.valid.shape
        if self.values.shape[:2] != shape or self.day_of_year.shape != shape or len(shape) != 2:
            raise RecordError(
                f"padded values {self.values.shape}, days {self.day_of_year.shape} and validity "
                f"{shape} do not describe the same (B, T) observations"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PaddedPixels:
    """All observations of B d-pixels."""

    optical: PaddedSeries
    """Sentinel-2, ten bands."""

    ascending: PaddedSeries
    """Sentinel-1 ascending, VV VH."""

    descending: PaddedSeries
    """Sentinel-1 descending, VV VH."""
