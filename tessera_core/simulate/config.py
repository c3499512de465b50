"""What the simulator is asked for, and the identity of the answer."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from tessera_core.errors import ConfigError

GENERATOR_VERSION: Final = 1
"""Raise it with every change that moves a pixel: stored catalogues are then written anew."""

MIN_SIZE: Final = 32
MAX_SIZE: Final = 1024
FIRST_YEAR: Final = 2017
LAST_YEAR: Final = 2030

# Coarse (20 m) and fine (10 m) bands must share one frame.
SIZE_STEP: Final = 2

WHOLE_YEAR: Final = range(1, 367)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateConfig:
    """Settings of a simulated catalogue."""

    path: str
    """Catalogue folder, relative to the workspace, with forward slashes."""

    seed: int
    """Seed of landscape, weather and noise; >= 0."""

    year: int
    """Calendar year of the acquisitions, 2017..2030."""

    width: int
    """Columns of 10 m, even, 32..1024."""

    height: int
    """Rows of 10 m, even, 32..1024."""

    def __post_init__(self) -> None:
        """Refuse settings out of range."""
        _require_relative(self.path)
        if self.seed < 0:
            raise ConfigError(
                f"simulate.seed is {self.seed}, expected a whole number >= 0. "
                "Choose any, as 7; the same seed gives the same scenes."
            )
        if not FIRST_YEAR <= self.year <= LAST_YEAR:
            raise ConfigError(
                f"simulate.year is {self.year}, expected {FIRST_YEAR}..{LAST_YEAR}. "
                "2022 has acquisitions on both sides of the baseline offset."
            )
        for name, size in (("width", self.width), ("height", self.height)):
            if not MIN_SIZE <= size <= MAX_SIZE or size % SIZE_STEP:
                raise ConfigError(
                    f"simulate.{name} is {size} pixels, expected an even number "
                    f"{MIN_SIZE}..{MAX_SIZE}, so that 20 m bands fit the 10 m frame. "
                    f"Set simulate.{name} to such a number."
                )

    def record(self, days: range = WHOLE_YEAR) -> dict[str, int | str]:
        """Return the settings that decide the bytes, and their digest.

        The path is no part of it: the same catalogue may lie anywhere.

        Args:
            days: days of year whose acquisitions are written.
        """
        settings: dict[str, int | str] = {
            "generator_version": GENERATOR_VERSION,
            "seed": self.seed,
            "year": self.year,
            "width": self.width,
            "height": self.height,
            "first_day": days.start,
            "last_day": days.stop - 1,
        }
        text = json.dumps(settings, sort_keys=True)
        return {**settings, "digest": hashlib.sha256(text.encode()).hexdigest()}


def _require_relative(path: str) -> None:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\\" in path or ".." in parts:
        raise ConfigError(
            f"simulate.path is {path!r}, expected a folder below the workspace, as "
            "'data/scenes/simulated'. Use a relative path without '..'."
        )
