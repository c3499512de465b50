"""A model registry in one folder and a few dictionaries."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tessera_core.ports import RegisteredModel

CHAMPION = "champion"
CHALLENGER = "challenger"


@dataclass(slots=True, kw_only=True)
class InMemoryRegistry:
    """Versions and aliases of one model; a ``ModelRegistry`` that also counts what is asked."""

    folder: Path
    """Where artifacts are copied to, one folder per version."""

    versions: list[RegisteredModel] = field(default_factory=list)
    """All versions, oldest first."""

    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    """Version -> its tags."""

    aliases: dict[str, str] = field(default_factory=dict)
    """Alias -> version."""

    num_writes: int = 0
    """Calls that changed something."""

    def listed(self) -> list[RegisteredModel]:
        """Return all versions, oldest first."""
        return list(self.versions)

    def reached(self) -> int:
        """Return the highest number that was given."""
        return len(self.versions)

    def champion(self) -> RegisteredModel | None:
        """Return the version behind the champion alias, or None."""
        served = self.aliases.get(CHAMPION)
        return next((model for model in self.versions if model.version == served), None)

    def register(self, artifact: Path, tags: Mapping[str, str]) -> RegisteredModel:
        """Copy the artifact and make it a version."""
        self.num_writes += 1
        model = RegisteredModel(
            version=str(len(self.versions) + 1),
            model_digest=tags["tessera.model_digest"],
            receipt=tags["tessera.receipt.evaluate"],
        )
        shutil.copytree(artifact, self.artifact(model.version))
        self.versions.append(model)
        self.tags[model.version] = dict(tags)
        return model

    def fetch(self, version: str, target: Path) -> None:
        """Copy a version's artifact folder to ``target``."""
        shutil.copytree(self.artifact(version), target)

    def set_alias(self, alias: str, version: str, tags: Mapping[str, str]) -> None:
        """Point an alias at a version and tag that version; a champion no longer challenges."""
        self.num_writes += 1
        self.aliases[alias] = version
        self.tags[version].update(tags)
        self.versions = [
            replace(
                model,
                receipt=self.tags[model.version]["tessera.receipt.evaluate"],
                override=self.tags[model.version].get("tessera.override", ""),
                override_record=self.tags[model.version].get("tessera.receipt.override", ""),
            )
            for model in self.versions
        ]
        if alias == CHAMPION and self.aliases.get(CHALLENGER) == version:
            del self.aliases[CHALLENGER]

    def artifact(self, version: str) -> Path:
        """Return where a version's artifact lies."""
        return self.folder / version
