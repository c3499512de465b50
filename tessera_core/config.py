"""``params.yaml`` to one frozen configuration; unknown keys are refused by name.

Values stand in ``params.yaml`` only; meaning and limits stand in the dataclass beside each
stage. There are no defaults here, so the two cannot disagree.
"""

import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Self

from tessera_core.audit.config import AuditConfig
from tessera_core.errors import ConfigError, did_you_mean
from tessera_core.evaluate.config import EvaluateConfig
from tessera_core.export.config import ExportConfig
from tessera_core.ingest.config import IngestConfig
from tessera_core.ingest.simulate.config import SimulateConfig
from tessera_core.pretrain.config import PretrainConfig
from tessera_core.quality.config import QualityConfig
from tessera_core.records.files import digest_json
from tessera_core.register.config import RegisterConfig
from tessera_core.shuffle.config import ShuffleConfig

PARAMS_NAME = "params.yaml"


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
        values = _read_yaml(path)
        for override in overrides:
            _apply(values, override)
        return cls.from_dict(values, str(path))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str) -> Self:
        """Build from nested plain values; ``where`` names their source in errors."""
        result = _build(cls, values, "", where)
        assert isinstance(result, cls)  # noqa: S101 - narrows the type, not a check of input
        return result

    def section(self, name: str) -> dict[str, Any]:
        """Return one section as plain JSON values, for receipts."""
        plain = _plain(asdict(getattr(self, name)))
        assert isinstance(plain, dict)  # noqa: S101 - narrows the type
        return plain

    def to_dict(self) -> dict[str, Any]:
        """Return all sections as plain JSON values."""
        return {part.name: self.section(part.name) for part in fields(self)}

    @property
    def digest(self) -> str:
        """Identity of all settings."""
        return digest_json(self.to_dict())


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}. Run from a Tessera checkout, "
            "or name one with --root"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds {type(values).__name__}, expected sections of settings")
    return values


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


def _build(kind: type[Any], values: Any, prefix: str, where: str) -> Any:
    """Build a dataclass from a mapping, strictly."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: {prefix or 'the top level'} is not a section: {values!r}")
    known = {part.name for part in fields(kind)}
    for name in values:
        if name not in known:
            raise ConfigError(
                f"{where}: {prefix}{name} is not a setting. {did_you_mean(str(name), known)}"
            )
    missing = sorted(known - set(values))
    if missing:
        raise ConfigError(f"{where}: {prefix}{missing[0]} is missing; every setting has a value")
    hints = typing.get_type_hints(kind)
    return kind(
        **{
            name: _build(hints[name], value, f"{prefix}{name}.", where)
            if is_dataclass(hints[name])
            else _convert(hints[name], value, f"{prefix}{name}", where)
            for name, value in values.items()
        }
    )


def _convert(hint: Any, value: Any, name: str, where: str) -> Any:
    """Return a value of the hinted type, or refuse; ints pass as floats, nothing else bends."""
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        choices = typing.get_args(hint)
        if value is None and type(None) in choices:
            return None
        return _convert(next(c for c in choices if c is not type(None)), value, name, where)
    if origin is tuple:
        items = typing.get_args(hint)
        if not isinstance(value, list):
            raise ConfigError(f"{where}: {name} is {value!r}, expected a list")
        if Ellipsis in items:
            items = (items[0],) * len(value)
        if len(items) != len(value):
            raise ConfigError(f"{where}: {name} has {len(value)} items, expected {len(items)}")
        return tuple(
            _convert(item, part, name, where) for item, part in zip(items, value, strict=True)
        )
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        is_number = hint is float and _is_number(value)
        remedy = "; YAML wants a point and a sign, as in 1.0e-3" if is_number else ""
        raise ConfigError(
            f"{where}: {name} is {value!r} ({type(value).__name__}), expected {hint.__name__}"
            f"{remedy}"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where}: {name} is {value}, expected a finite number")
    return value


def _is_number(value: Any) -> bool:
    """Return whether a text is a number that YAML did not take for one, such as 1e-3."""
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True


def _plain(value: Any) -> Any:
    """Return JSON values: tuples become lists."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
