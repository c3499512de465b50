"""A batch of d-pixels as stored numbers, on whatever device holds them.

Shapes: B d-pixels, T observations (padded; may be 0), C bands.
"""

from dataclasses import dataclass
from typing import Final, Self

import torch
from torch import Tensor

from tessera_core.domain.bands import NUM_S1, NUM_S2
from tessera_core.domain.padded import PaddedPixels, PaddedSeries
from tessera_core.errors import RecordError

MAX_OBSERVATIONS: Final = 1 << 16
"""Of one sensor; an observation's place fits 16 bits."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawSeries:
    """One sensor's observations of B d-pixels, oldest first, padding last, on some device."""

    values: Tensor
    """(B, T, C), stored units: uint16 for S2, int16 for S1; 0 where padded."""

    day_of_year: Tensor
    """(B, T) uint16, 1..366; 0 where padded."""

    valid: Tensor
    """(B, T) bool, clear for S2, present for S1; False where padded."""

    def __post_init__(self) -> None:
        """Check that the tensors agree."""
        shape = self.valid.shape
        agree = self.values.shape[:2] == shape and self.day_of_year.shape == shape
        if not agree or self.valid.ndim != 2 or self.values.ndim != 3:
            raise RecordError(
                f"raw values {tuple(self.values.shape)}, days {tuple(self.day_of_year.shape)} and "
                f"validity {tuple(shape)} do not describe the same (B, T) observations"
            )
        if self.valid.dtype != torch.bool or self.day_of_year.dtype != torch.uint16:
            raise RecordError(
                f"raw days are {self.day_of_year.dtype} and validity {self.valid.dtype}, "
                "expected torch.uint16 and torch.bool"
            )

    @classmethod
    def from_padded(cls, padded: PaddedSeries) -> Self:
        """Return the same memory as tensors."""
        return cls(
            values=torch.from_numpy(padded.values),
            day_of_year=torch.from_numpy(padded.day_of_year),
            valid=torch.from_numpy(padded.valid),
        )

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """Return the series on a device; the host may go on before it has arrived."""
        return type(self)(
            values=self.values.to(device, non_blocking=non_blocking),
            day_of_year=self.day_of_year.to(device, non_blocking=non_blocking),
            valid=self.valid.to(device, non_blocking=non_blocking),
        )

    def pin(self) -> Self:
        """Return the series in page-locked memory, from which a GPU copies by itself."""
        return type(self)(
            values=self.values.pin_memory(),
            day_of_year=self.day_of_year.pin_memory(),
            valid=self.valid.pin_memory(),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawPixels:
    """All observations of B d-pixels, on some device."""

    optical: RawSeries
    """Sentinel-2, ten bands, uint16."""

    ascending: RawSeries
    """Sentinel-1 ascending, VV VH, int16."""

    descending: RawSeries
    """Sentinel-1 descending, VV VH, int16."""

    def __post_init__(self) -> None:
        """Check count, bands, type and length of every sensor."""
        counts = [len(part.valid) for part in (self.optical, self.ascending, self.descending)]
        if len(set(counts)) != 1:
            raise RecordError(
                f"S2, ascending and descending hold {counts} raw d-pixels; expected equal counts"
            )
        for name, part, num_bands, dtype in (
            ("optical", self.optical, NUM_S2, torch.uint16),
            ("ascending", self.ascending, NUM_S1, torch.int16),
            ("descending", self.descending, NUM_S1, torch.int16),
        ):
            if part.values.shape[2] != num_bands or part.values.dtype != dtype:
                raise RecordError(
                    f"raw {name} values are {part.values.dtype} with {part.values.shape[2]} bands, "
                    f"expected {dtype} with {num_bands}"
                )
        num_radar = self.ascending.valid.shape[1] + self.descending.valid.shape[1]
        longest = max(self.optical.valid.shape[1], num_radar)
        if longest >= MAX_OBSERVATIONS:
            raise RecordError(
                f"a raw batch is padded to {longest} observations of one sensor, expected fewer "
                f"than {MAX_OBSERVATIONS}; were several years stored as one d-pixel?"
            )

    def __len__(self) -> int:
        """Return the number of d-pixels."""
        return len(self.optical.valid)

    @classmethod
    def from_padded(cls, padded: PaddedPixels) -> Self:
        """Return the same memory as tensors."""
        return cls(
            optical=RawSeries.from_padded(padded.optical),
            ascending=RawSeries.from_padded(padded.ascending),
            descending=RawSeries.from_padded(padded.descending),
        )

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """Return the batch on a device; the host may go on before it has arrived."""
        return type(self)(
            optical=self.optical.to(device, non_blocking=non_blocking),
            ascending=self.ascending.to(device, non_blocking=non_blocking),
            descending=self.descending.to(device, non_blocking=non_blocking),
        )

    def pin(self) -> Self:
        """Return the batch in page-locked memory, from which a GPU copies by itself."""
        return type(self)(
            optical=self.optical.pin(),
            ascending=self.ascending.pin(),
            descending=self.descending.pin(),
        )
