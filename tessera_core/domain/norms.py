"""Per-band mean and standard deviation; they travel with the model, never as constants."""

from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from tessera_core.domain.bands import NUM_S1, NUM_S2
from tessera_core.errors import RecordError

EPSILON = 1e-9
"""Added to every standard deviation, as in the reference (method.md 1.7)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BandStats:
    """Mean and standard deviation of each band, in stored units."""

    mean: tuple[float, ...]
    """One value per band, in band order."""

    std: tuple[float, ...]
    """One positive value per band."""

    def __post_init__(self) -> None:
        """Refuse statistics that would turn input into NaN or infinity."""
        if len(self.mean) != len(self.std):
            raise RecordError(f"norms have {len(self.mean)} means but {len(self.std)} deviations")
        if not np.isfinite([*self.mean, *self.std]).all() or min(self.std, default=0) <= 0:
            raise RecordError(
                f"norms must be finite with positive deviations, got mean {self.mean} "
                f"and std {self.std}; a constant band cannot be normalised"
            )

    def apply(self, stored: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """Return ``(stored - mean) / (std + 1e-9)`` as float32; bands on the last axis."""
        # float32 first: subtracting from uint16 would wrap around.
        values = stored.astype(np.float32) - np.array(self.mean, np.float32)
        normalised: npt.NDArray[np.float32] = values / (
            np.array(self.std, np.float32) + np.float32(EPSILON)
        )
        return normalised


@dataclass(frozen=True, slots=True, kw_only=True)
class NormStats:
    """Normalisation of all inputs of one model."""

    s2: BandStats
    """Ten bands, reflectance x 10000, over clear observations."""

    s1_ascending: BandStats
    """VV VH in scaled dB, over present observations."""

    s1_descending: BandStats
    """VV VH in scaled dB, over present observations."""

    def __post_init__(self) -> None:
        """Check the number of bands."""
        for name, stats, expected in (
            ("s2", self.s2, NUM_S2),
            ("s1_ascending", self.s1_ascending, NUM_S1),
            ("s1_descending", self.s1_descending, NUM_S1),
        ):
            if len(stats.mean) != expected:
                raise RecordError(f"norms.{name} has {len(stats.mean)} bands, expected {expected}")

    def to_dict(self) -> dict[str, dict[str, list[float]]]:
        """Return plain lists for JSON."""
        return {
            name: {key: list(values) for key, values in stats.items()}
            for name, stats in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, stored: dict[str, dict[str, list[float]]]) -> Self:
        """Read what ``to_dict`` wrote; raises RecordError when a part is missing."""
        try:
            return cls(
                **{
                    name: BandStats(
                        mean=tuple(stored[name]["mean"]), std=tuple(stored[name]["std"])
                    )
                    for name in ("s2", "s1_ascending", "s1_descending")
                }
            )
        except KeyError as missing:
            raise RecordError(f"norms lack {missing}; rerun the shuffle stage") from missing
