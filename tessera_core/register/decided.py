"""What the lineage knows of a registered model: its numbers, and what was decided about it.

A decision is written down before the registry hears of it. Whoever is killed on the way to the
receipt finds it again, and finishes it with the same reasons and numbers. See
docs/decisions/0015.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tessera_core.errors import RecordError
from tessera_core.records.files import canonical_json, digest_json, parse_json, write_atomically
from tessera_core.records.lineage import stored_files
from tessera_core.register.gate import CHAMPION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tessera_core.ports import RegisteredModel

KIND: Final = "decision"
NAME_MARK: Final = b'"model_name":'


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The records of one registered model."""

    numbers: Mapping[str, set[str]]
    """Version -> digests of the models that records know by this number; one, if all is well."""

    decisions: Mapping[str, Mapping[str, Any]]
    """Digest -> decision, as ``write_decision`` wrote it."""

    told: frozenset[str]
    """Decisions that a register receipt tells, by ``_content``."""

    @property
    def last(self) -> list[str]:
        """Digests of the decisions that none follows; several where clones decided apart."""
        earlier = {name for each in self.decisions.values() for name in each["previous"]}
        return sorted(self.decisions.keys() - earlier)


def read_decided(model_name: str, lineage: Path) -> Decided:
    """Return what the lineage knows of a model; records that do not hash to their name do not."""
    numbers: dict[str, set[str]] = defaultdict(set)
    decisions, told = {}, set()
    for stored in stored_files(lineage, NAME_MARK):
        if not stored.is_intact:
            continue
        record = parse_json(stored.content, stored.path)
        if not isinstance(record, dict):
            continue
        facts = record.get("facts") if record.get("stage") == "register" else record
        if not isinstance(facts, dict) or facts.get("model_name") != model_name:
            continue
        for version, digest in _numbered(facts):
            numbers[version].add(digest)
        if record.get("kind") == KIND:
            decisions[stored.path.stem] = record
        elif "decision" in facts:
            told.add(_content({**facts, **_scored(facts["candidate"])}))
    return Decided(numbers=numbers, decisions=decisions, told=frozenset(told))


def require_known_registry(
    model_name: str, decided: Decided, versions: Sequence[RegisteredModel], reached: int
) -> None:
    """Refuse a registry that is older than the lineage, or another: it would give a number twice.

    Args:
        model_name: Name in the registry.
        decided: What the lineage knows.
        versions: All that the registry has.
        reached: Highest number that the registry knows it has given.

    Raises:
        RecordError: They disagree.
    """
    for version in versions:
        known = decided.numbers.get(version.version)
        if known and version.model_digest not in known:
            raise _disagreement(
                f"version {version.version} of {model_name} is model "
                f"{version.model_digest[:12] or 'unknown'} in the registry, and model "
                f"{min(known)[:12]} in the lineage"
            )
    highest = max(map(int, decided.numbers), default=0)
    if highest > reached:
        raise _disagreement(
            f"the lineage knows {model_name} up to version {highest}, the registry only up to "
            f"{reached or 'none'}, and would give a number twice"
        )


def find_decision(
    wanted: Mapping[str, Any], decided: Decided, incumbent: RegisteredModel | None
) -> Mapping[str, Any] | None:
    """Return the last decision, where it was made for this and the world is as it left it.

    Args:
        wanted: ``model_digest``, ``evaluate`` and ``rule`` of what is to be decided.
        decided: What the lineage knows.
        incumbent: Who serves now.
    """
    for decision in _made_for(wanted, decided):
        if incumbent is not None and incumbent.model_digest == wanted["model_digest"]:
            # It serves by this decision, unless a person has made it champion since.
            if decision["decision"]["alias"] == CHAMPION and not incumbent.override:
                return decision
        elif _is_open(decision, decided) and _met(decision) == _serving(incumbent):
            return decision
    return None


def overtaken(wanted: Mapping[str, Any], decided: Decided) -> tuple[str, ...]:
    """Return what is to be said where a decision was interrupted, and cannot be finished now."""
    if any(_is_open(each, decided) for each in _made_for(wanted, decided)):
        return ("decided anew: who serves has changed since this decision was interrupted",)
    return ()


def write_decision(record: Mapping[str, Any], decided: Decided, lineage: Path) -> None:
    """Write a decision into the lineage, after those that are there; an equal last one stays."""
    if any(_content(decided.decisions[name]) == _content(record) for name in decided.last):
        return
    whole = {**record, "kind": KIND, "previous": decided.last}
    write_atomically(lineage / f"{digest_json(whole)}.json", canonical_json(whole))


def _made_for(wanted: Mapping[str, Any], decided: Decided) -> Iterator[Mapping[str, Any]]:
    """Yield the last decisions, as far as they are about this."""
    for name in decided.last:
        decision = decided.decisions[name]
        if all(decision[key] == wanted[key] for key in wanted):
            yield decision


def _is_open(decision: Mapping[str, Any], decided: Decided) -> bool:
    """Return whether no receipt tells of it."""
    return _content(decision) not in decided.told


def _content(facts: Mapping[str, Any]) -> str:
    """Return the identity of a decision, the same for its own record and for its receipt."""
    names = ("model_digest", "evaluate", "before", "decision", "evidence", "rule", "tags")
    return digest_json({name: facts.get(name) for name in names})


def _scored(candidate: Mapping[str, Any]) -> dict[str, Any]:
    return {name: candidate.get(name) for name in ("model_digest", "evaluate")}


def _serving(incumbent: RegisteredModel | None) -> tuple[str | None, str]:
    return (None, "") if incumbent is None else (incumbent.version, incumbent.override)


def _met(decision: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return who served when it was made, and by whose decision."""
    return decision["before"], decision["override"]


def _numbered(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the numbers that a record gives to models."""
    for one in (facts, facts.get("candidate"), facts.get("champion")):
        if isinstance(one, dict) and str(one.get("version", "")).isdecimal():
            yield str(one["version"]), str(one.get("model_digest"))


def _disagreement(what: str) -> RecordError:
    return RecordError(
        f"{what}; an older registry was restored, or somebody changed it. Nothing was registered. "
        "Restore the registry's newest backup, or bring it up to the lineage with "
        "`tessera rebuild-tracking`, and see what `tessera audit` says"
    )
