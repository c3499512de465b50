"""What a stage hands back: the files it made and what is worth knowing about them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result of one stage run, from which its receipt is written."""

    outputs: tuple[Path, ...]
    """Manifests and single files produced, inside the workspace."""

    facts: Mapping[str, Any]
    """Counts, seeds, verdicts; plain JSON values without times or host names."""
