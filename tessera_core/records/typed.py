"""Plain values to frozen dataclasses: what is unknown, missing or bent is refused by name.

``params.yaml`` and benchmark definitions are read this way, so that a misspelt key never becomes a
default in silence.
"""

import enum
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Final

from tessera_core.errors import ConfigError, did_you_mean

MAX_DEPTH: Final = 16
"""Levels of nesting in a file of settings."""


def read_yaml(path: Path, hint: str) -> dict[str, Any]:
    """Return a YAML file's mapping.

    Args:
        path: The file.
        hint: What to do when it cannot be read.

    Raises:
        ConfigError: It cannot be read, is not YAML, or holds no mapping.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        _require_plain(text, path)
        _require_once(yaml.compose(text, Loader=_loader()), path)
        values = yaml.load(text, Loader=_loader())  # a safe one
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}. {hint}") from error
    except ConfigError:
        raise
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that no calendar has
        raise ConfigError(f"{path} is not YAML: {error}") from error
    if not isinstance(values, dict):
        what = "nothing" if values is None else type(values).__name__
        raise ConfigError(f"{path} holds {what}, expected names with values")
    return values


def _loader() -> Any:
    """Return YAML's safe loader, the one in C where there is one: ten times as fast."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _require_plain(text: str, path: Path) -> None:
    """Refuse aliases and deep nesting: settings need neither, and both can blow up a reader."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=_loader()):
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(f"{path} has the alias *{event.anchor}; write the value out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise ConfigError(f"{path} is nested more than {MAX_DEPTH} levels deep")


def _require_once(node: Any, path: Path) -> None:
    """Refuse a key that stands twice in one section; YAML would silently take the last."""
    import yaml

    if isinstance(node, yaml.SequenceNode):
        for part in node.value:
            _require_once(part, path)
    if not isinstance(node, yaml.MappingNode):
        return
    names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise ConfigError(f"{path}: {name} is given twice; keep one of them")
    for _, value in node.value:
        _require_once(value, path)


def build(kind: type[Any], values: Any, prefix: str, where: str) -> Any:
    """Return a dataclass built from a mapping; a field with a default may be left out.

    Args:
        kind: The dataclass.
        values: Names and plain values, nested where a field is a dataclass.
        prefix: Name of the section with a point behind it, for errors; empty at the top.
        where: The file the values come from, for errors.

    Raises:
        ConfigError: A key is unknown or missing; a value is of the wrong type or out of range.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: {prefix or 'the top level'} is not a section: {values!r}")
    known = {part.name for part in fields(kind)}
    for name in values:
        if name not in known:
            raise ConfigError(
                f"{where}: {prefix}{name} is not a setting. {did_you_mean(str(name), known)}"
            )
    required = {part.name for part in fields(kind) if part.default is MISSING}
    missing = sorted(required - set(values))
    if missing:
        raise ConfigError(f"{where}: {prefix}{missing[0]} is missing; every setting has a value")
    hints = typing.get_type_hints(kind)
    return kind(
        **{
            name: _convert(hints[name], value, f"{prefix}{name}", where)
            for name, value in values.items()
        }
    )


def _convert(hint: Any, value: Any, name: str, where: str) -> Any:
    """Return a value of the hinted type, or refuse; ints pass as floats, nothing else bends."""
    if is_dataclass(hint):
        return build(typing.cast("type[Any]", hint), value, f"{name}.", where)
    if isinstance(hint, type) and issubclass(hint, enum.StrEnum):
        if value not in list(hint):
            raise ConfigError(f"{where}: {name} is {value!r}. {did_you_mean(str(value), hint)}")
        return hint(value)
    if typing.get_origin(hint) is not None:
        return _convert_generic(hint, value, name, where)
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


def _convert_generic(hint: Any, value: Any, name: str, where: str) -> Any:
    """Return a value of ``X | None`` or ``tuple[...]``."""
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
    raise ConfigError(f"{where}: {name} cannot be read as {hint}")


def _is_number(value: Any) -> bool:
    """Return whether a text is a number that YAML did not take for one, such as 1e-3."""
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True


def plain(value: Any) -> Any:
    """Return JSON values: tuples become lists."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value
