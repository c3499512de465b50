"""What a stored record may hold: the form of receipts, manifests and the facts in them.

Whoever can write a file can write one that hashes to its name and says nonsense. Records are held
against their form where they are read, so that no reader meets a word where a number belongs.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tessera_core.errors import RecordError

MAX_NUMBER: Final = 2**64
MAX_DEPTH: Final = 64
MAX_SHOWN: Final = 40
ANY: Final = "*"
"""Stands for every name of a mapping."""


@dataclass(frozen=True, slots=True)
class Maybe:
    """The form of a value that may be null."""

    form: Any


@dataclass(frozen=True, slots=True)
class Text:
    """The form of a text that has to look in a certain way."""

    pattern: str
    what: str


Form = Any
"""A type; ``[form]`` for a list; a mapping of names, ``!`` behind those that must be there."""

DIGEST: Final = Text(r"[^/\x00]*", "a digest")
NAME: Final = Text(r"(?!\.)[^/\x00]+", "a name")
NUMBER: Final = Text(r"[0-9]{1,18}", "the number of a version")
PATH: Final = Text(r"[^\x00]+", "a path")

FILE: Final = {"path!": PATH, "sha256!": DIGEST, "md5!": DIGEST, "size!": int}
VERSION: Final = {"version": NUMBER, "model_digest": str, "pretrain": DIGEST, "evaluate": DIGEST}
SCORE: Final = {"mean!": float, "low!": float, "high!": float}

FACTS: Final[Mapping[str, Form]] = MappingProxyType(
    {
        "ingest": {"num_pixels": int, "simulated": bool, "source": str, "tiles": {ANY: int}},
        "quality": {"verdict": Maybe(str), "num_rules": int, "num_failures": int},
        "shuffle": {"seed": int},
        "pretrain": {
            "model_digest": str, "num_parameters": int, "num_train_pixels": int, "num_steps": int,
            "shards": Maybe(str), "teacher": Maybe(str), "imported": Maybe({ANY: object}),
        },
        "evaluate": {
            "simulated": bool, "skipped": Maybe({ANY: str}), "status": {ANY: str},
            "headline": {ANY: {ANY: {ANY: SCORE}}}, "protocol_digest": str, "labels_digest": str,
        },
        "register": {
            "model_name": NAME, "candidate": Maybe(VERSION), "champion": Maybe(VERSION),
            "champion_receipts": Maybe({ANY: DIGEST}), "before": Maybe(NUMBER),
            "decision": Maybe({"alias": str, "reasons": [str]}),
            "evidence": Maybe({ANY: Maybe(str)}), "tags": Maybe({ANY: str}),
            "override": Maybe({"sentence!": str, "record!": str}),
        },
        "export": {
            "export": NAME, "model_name": str, "version": NUMBER, "model_digest": str,
            "samples_digest": str, "num_pixels": int, "num_tiles": int,
        },
    }
)  # fmt: skip
"""Stage -> facts of its receipt that others read; whether they must be there is for the reader."""

RECEIPT: Final = {
    "stage!": NAME,
    "config!": {ANY: {ANY: object}},
    "sources!": [FILE],
    "upstream!": {ANY: DIGEST},
    "outputs!": [FILE],
    "code!": {"commit!": str, "dirty!": bool, "closure!": str},
    "environment!": DIGEST,
    "facts!": {ANY: object},
}
MANIFEST: Final = {"kind!": str, "files!": [FILE], "facts!": {ANY: object}}


def check_form(value: Any, form: Form, where: str, at: str = "") -> None:
    """Refuse a value that has not its form.

    Args:
        value: Parsed JSON.
        form: What it has to be.
        where: What errors call the record.
        at: Where in the record the value is, as ``facts.tiles[0]``.

    Raises:
        RecordError: With the place, what is there and what belongs there.
    """
    if isinstance(form, Maybe):
        if value is not None:
            check_form(value, form.form, where, at)
    elif isinstance(form, Text):
        if not isinstance(value, str) or not re.fullmatch(form.pattern, value):
            raise _bent(value, form.what, where, at)
    elif isinstance(form, list):
        _require(value, list, "a list", where, at)
        for number, part in enumerate(value):
            check_form(part, form[0], where, f"{at}[{number}]")
    elif isinstance(form, Mapping):
        _require(value, dict, "names with values", where, at)
        _check_names(value, form, where, f"{at}." if at else "")
    elif form is float:
        _require(value, (int, float), "a number", where, at)
    elif form is not object:
        _require(value, form, WORDS[form], where, at)


WORDS: Final = {str: "a text", int: "a whole number", bool: "true or false"}


def check_facts(facts: Mapping[str, Any], stage: str, where: str) -> None:
    """Refuse facts of a stage's receipt that have not their form; raises RecordError."""
    check_form(facts, FACTS.get(stage, {}), where, "facts")


def require_facts(facts: Mapping[str, Any], names: tuple[str, ...], where: Path) -> None:
    """Refuse a receipt that lacks facts which a reader needs; raises RecordError with its name."""
    _require_all(facts, names, f"{where}: facts")


def require_upstream(upstream: Mapping[str, str], names: tuple[str, ...], where: Path) -> None:
    """Refuse a receipt that does not say what it stands on; raises RecordError with its name."""
    _require_all(upstream, names, f"{where}: upstream")


def _require_all(values: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    for name in names:
        if name not in values:
            raise RecordError(
                f"{where}.{name} is missing; restore data/lineage from a backup or another clone, "
                "and run `tessera audit`"
            )


def check_plain(value: Any, where: str, at: str = "", depth: int = 0) -> None:
    """Refuse what no record of ours holds: numbers beyond all bounds, bent text, deep nesting.

    Raises:
        RecordError: With the place.
    """
    if depth > MAX_DEPTH:
        raise RecordError(f"{where}: it is nested too deep to be a record of ours")
    if isinstance(value, dict):
        for name, part in value.items():
            check_plain(name, where, at)
            check_plain(part, where, f"{at}.{name}" if at else name, depth + 1)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            check_plain(part, where, f"{at}[{number}]", depth + 1)
    elif isinstance(value, str):
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise _bent(value, "text in Unicode", where, at)
    elif isinstance(value, (int, float)) and not (
        math.isfinite(value) if isinstance(value, float) else abs(value) <= MAX_NUMBER
    ):
        raise _bent(value, "a number within bounds", where, at)


def _check_names(value: Mapping[str, Any], form: Mapping[str, Form], where: str, at: str) -> None:
    if ANY in form:
        for name, part in value.items():
            check_form(part, form[ANY], where, f"{at}{name}")
        return
    for marked, part in form.items():
        name = marked.removesuffix("!")
        if name in value:
            check_form(value[name], part, where, f"{at}{name}")
        elif name != marked:
            raise RecordError(f"{where}: '{at}{name}' is missing")


def _require(value: Any, kind: Any, what: str, where: str, at: str) -> None:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _bent(value, what, where, at)


def _bent(value: Any, what: str, where: str, at: str) -> RecordError:
    shown = ascii(value)
    shown = shown if len(shown) <= MAX_SHOWN else f"{shown[:MAX_SHOWN]}..."
    return RecordError(f"{where}: {at or 'it'} is {shown}, expected {what}")
