"""``params.yaml`` to one frozen configuration; unknown keys are refused by name.

Values stand in ``params.yaml`` only; meaning and limits stand in the dataclass beside each
stage. There are no defaults here, so the two cannot disagree.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from tessera_core.benchmarks.config import EvaluateConfig
from tessera_core.errors import ConfigError, did_you_mean
from tessera_core.export.config import ExportConfig
from tessera_core.ingest.config import IngestConfig
from tessera_core.pretrain.config import PretrainConfig
from tessera_core.quality.config import QualityConfig
from tessera_core.records.files import digest_json
from tessera_core.records.typed import build, plain, read_yaml
from tessera_core.register.config import RegisterConfig
from tessera_core.shuffle.config import ShuffleConfig
from tessera_core.simulate.config import SimulateConfig

PARAMS_NAME = "params.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditConfig:
    """What the audit insists on."""

    require_sources: bool
    """Treat source scenes that are gone or changed as a failure, not a note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformConfig:
    """All settings, one section per stage."""

    simulate: SimulateConfig
    """The embedded default's scenes."""

    ingest: IngestConfig
    """Scenes to samples."""

    quality: QualityConfig
    """The gate before training."""

    shuffle: ShuffleConfig
    """Samples to shards."""

    pretrain: PretrainConfig
    """Shards to encoder."""

    evaluate: EvaluateConfig
    """Encoder to scores."""

    register: RegisterConfig
    """Scores to champion."""

    export: ExportConfig
    """Champion to embeddings."""

    audit: AuditConfig
    """Receipts to certificate."""

    @classmethod
    def read(cls, path: Path, overrides: Iterable[str] = ()) -> Self:
        """Read ``params.yaml`` and apply ``section.name=value`` overrides.

        Raises:
            ConfigError: The file is missing or not YAML; a key is unknown, missing, of the
                wrong type or out of range.
        """
        values = read_yaml(path, "Run from a Tessera checkout, or name one with --root")
        for override in overrides:
            _apply(values, override)
        return cls.from_dict(values, str(path))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str) -> Self:
        """Build from nested plain values; ``where`` names their source in errors."""
        result = build(cls, values, "", where)
        assert isinstance(result, cls)  # noqa: S101 - narrows the type, not a check of input
        return result

    def section(self, name: str) -> dict[str, Any]:
        """Return one section as plain JSON values, for receipts."""
        values = plain(asdict(getattr(self, name)))
        assert isinstance(values, dict)  # noqa: S101 - narrows the type
        return values

    def to_dict(self) -> dict[str, Any]:
        """Return all sections as plain JSON values."""
        return {part.name: self.section(part.name) for part in fields(self)}

    @property
    def digest(self) -> str:
        """Identity of all settings."""
        return digest_json(self.to_dict())


def _apply(values: dict[str, Any], override: str) -> None:
    """Set one ``section.name=value``, where the value is YAML."""
    import yaml

    key, separator, text = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not separator or not dot:
        raise ConfigError(f"--set {override!r} is not of the form section.name=value")
    if section not in values:
        raise ConfigError(f"{section} is not a section. {did_you_mean(section, values)}")
    if not isinstance(values[section], dict):
        raise ConfigError(f"{section} is not a section: {values[section]!r}")
    if name not in values[section]:
        raise ConfigError(
            f"{section}.{name} is not a setting. {did_you_mean(name, values[section])}"
        )
    try:
        values[section][name] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override!r}: the value is not YAML: {error}") from error
