"""Settings of the register stage."""

from dataclasses import dataclass

from tessera_core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterConfig:
    """What the registry calls the model and when a challenger becomes champion."""

    model_name: str
    """Registered model name; letters, digits, ``_`` and ``-``."""

    min_gain: float
    """Least gain in probe accuracy over the champion for promotion."""

    max_height_loss: float
    """Largest tolerated fall in canopy-height R2 against the champion."""

    def __post_init__(self) -> None:
        """Check the name and the margins."""
        if not self.model_name or not self.model_name.replace("-", "").replace("_", "").isalnum():
            raise ConfigError(
                f"register.model_name is {self.model_name!r}, expected letters, digits, _ or -"
            )
        if self.min_gain < 0 or self.max_height_loss < 0:
            raise ConfigError("register.min_gain and max_height_loss must be 0 or more")
