"""Settings of the register stage."""

import re
from dataclasses import dataclass
from typing import Final

from tessera_core.errors import ConfigError

MODEL_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
"""What a registry, a folder and the address of a page can hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterConfig:
    """What the registry calls the model, and limits of the promotion rule.

    How much worse a task may get is the task's own margin, in its definition.
    """

    model_name: str
    """Registered model name; letters, digits, ``_`` and ``-``."""

    max_region_loss: float
    """Largest tolerated fall of a task's metric in any one region; of an error in the unit of the
    truth, its largest rise as a share of the champion's."""

    max_int8_loss: float
    """Largest tolerated loss of int8 codes against float32 values, counted likewise."""

    max_time_ratio: float
    """Largest tolerated time per d-pixel, over the champion's."""

    max_size_ratio: float
    """Largest tolerated number of parameters, over the champion's."""

    def __post_init__(self) -> None:
        """Check the name and the limits."""
        if not MODEL_NAME.fullmatch(self.model_name):
            raise ConfigError(
                f"register.model_name is {self.model_name!r}, expected letters (a-z, A-Z), "
                "digits, _ or -, 1 to 128 of them"
            )
        for name in ("max_region_loss", "max_int8_loss"):
            if getattr(self, name) < 0:
                raise ConfigError(f"register.{name} is {getattr(self, name)}, expected 0 or more")
        for name in ("max_time_ratio", "max_size_ratio"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"register.{name} is {getattr(self, name)}, expected above 0")
