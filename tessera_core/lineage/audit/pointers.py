"""A registry compared with the receipts: what it says, given as plain values.

Pointers are never evidence. One that disagrees with the receipts was edited by somebody; one
that is gone takes nothing away from the evidence.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tessera_core.lineage.audit.report import Finding, Grade
from tessera_core.records.lineage import receipts_of
from tessera_core.records.overrides import Override, last_override, overrides_of
from tessera_core.records.receipt import Receipt

# As register and promote write them; stated here too, since an audit does not ask what it audits.
DIGEST_TAG: Final = "tessera.model_digest"
PRETRAIN_TAG: Final = "tessera.receipt.pretrain"
EVALUATE_TAG: Final = "tessera.receipt.evaluate"
COMMIT_TAG: Final = "tessera.git_commit"
DIRTY_TAG: Final = "tessera.git_dirty"
SIMULATED_TAG: Final = "tessera.simulated"
REASONS_TAG: Final = "tessera.reasons"
OVERRIDE_TAG: Final = "tessera.override"
OVERRIDE_RECEIPT_TAG: Final = "tessera.receipt.override"
CHAMPION: Final = "champion"

DECIDED_ABOUT: Final = {"version", "model_digest", "pretrain", "evaluate"}
"""What a registration names of its candidate."""

RESTORE_TAG: Final = "set it back to what the receipts say, and find out who changed it"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryState:
    """What the model registry says now."""

    model_name: str
    """Which model."""

    champion: str | None
    """Version behind the champion alias, None where there is no alias."""

    tags: Mapping[str, Mapping[str, str]]
    """Version -> its tags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the receipts say of one model name."""

    registered: tuple[Receipt, ...]
    receipts: Mapping[str, Receipt]
    overrides: Mapping[str, Override]
    last: str | None


def pointers_gone(what: str, why: str) -> Finding:
    """Return the note that a store of pointers cannot be asked."""
    return Finding(
        grade=Grade.NOTE,
        artefact=what,
        problem=f"its pointers are gone: {why}. The receipts are verified without them",
        next_step="restore it from a backup, or go on without it; no evidence is lost",
    )


def not_compared(what: str, why: str) -> Finding:
    """Return the warning that a store of pointers is there, and did not say what it knows."""
    return Finding(
        grade=Grade.WARN,
        artefact=what,
        problem=f"it was not compared with the receipts: {why}",
        next_step="audit again when it answers; until then nobody knows what it says",
    )


def check_registry(state: RegistryState, lineage: Path) -> list[Finding]:
    """Return what the registry says differently than the receipts and the decisions of people."""
    known = _known_of(state.model_name, lineage)
    if not known.registered:
        return []
    if not state.tags:
        why = f"it knows no version of {state.model_name}"
        return [pointers_gone("registry", why)]
    findings = [
        finding
        for version in sorted({str(_candidate(each)["version"]) for each in known.registered})
        for finding in _check_version(version, state, known)
    ]
    return [*findings, *_check_alias(state, known)]


def possible_champions(model_name: str, lineage: Path) -> set[str | None]:
    """Return the versions that may serve by the receipts; empty where none was registered.

    One is the answer, several are a question that only the registry settles.
    """
    known = _known_of(model_name, lineage)
    return _possible_champions(known) if known.registered else set()


def _known_of(model_name: str, lineage: Path) -> _Known:
    overrides = overrides_of(lineage)
    return _Known(
        registered=tuple(
            receipt
            for receipt in receipts_of("register", lineage).values()
            if receipt.facts.get("model_name") == model_name
            and _candidate(receipt).keys() >= DECIDED_ABOUT
        ),
        receipts=receipts_of("pretrain", lineage) | receipts_of("evaluate", lineage),
        overrides={
            digest: each for digest, each in overrides.items() if each.model_name == model_name
        },
        last=last_override(overrides, model_name),
    )


def _check_version(version: str, state: RegistryState, known: _Known) -> Iterator[Finding]:
    tags = state.tags.get(version)
    name = f"{state.model_name}/{version}"
    if tags is None:
        yield pointers_gone(f"registry {name}", "the version was deleted")
        return
    decided = [each for each in known.registered if _candidate(each)["version"] == version]
    own = [each for each in decided if _candidate(each)["model_digest"] == tags.get(DIGEST_TAG)]
    expected = _expected_tags(own or decided, known)
    if not own:
        expected = {DIGEST_TAG: expected[DIGEST_TAG]}  # the rest would be another model's
    decisions = {
        digest: each for digest, each in known.overrides.items() if each.version == version
    }
    sentences = {each.sentence for each in decisions.values()}
    if REASONS_TAG in expected:
        expected[REASONS_TAG] = expected[REASONS_TAG] | sentences
    # Blank or absent where the rule decided after the person.
    if tags.get(OVERRIDE_TAG):
        expected[OVERRIDE_TAG] = sentences
    if tags.get(OVERRIDE_TAG) or tags.get(OVERRIDE_RECEIPT_TAG):
        expected[OVERRIDE_RECEIPT_TAG] = set(decisions)
    for tag, values in sorted(expected.items()):
        if tags.get(tag) not in values:
            yield edited(f"registry {name}, tag {tag}", tags.get(tag), values, RESTORE_TAG)


def _expected_tags(decided: Iterable[Receipt], known: _Known) -> dict[str, set[str]]:
    """Return the values that each tag of a version may have."""
    expected: dict[str, set[str]] = {}
    recorded: dict[str, set[str]] = {}
    for receipt in decided:
        candidate = _candidate(receipt)
        values = {
            DIGEST_TAG: candidate["model_digest"],
            PRETRAIN_TAG: candidate["pretrain"],
            EVALUATE_TAG: candidate["evaluate"],
            REASONS_TAG: "; ".join((receipt.facts.get("decision") or {}).get("reasons", ())),
        }
        trained = known.receipts.get(candidate["pretrain"])
        if trained is not None:
            values[COMMIT_TAG] = trained.code.commit
            values[DIRTY_TAG] = str(trained.code.dirty).lower()
        scored = known.receipts.get(candidate["evaluate"])
        if scored is not None and "simulated" in scored.facts:
            values[SIMULATED_TAG] = str(scored.facts["simulated"]).lower()
        for tag, value in values.items():
            expected.setdefault(tag, set()).add(str(value))
        for tag, value in (receipt.facts.get("tags") or {}).items():
            recorded.setdefault(tag, set()).add(str(value))
    # What register wrote down that it told the registry is the last word.
    return expected | recorded


def _check_alias(state: RegistryState, known: _Known) -> Iterator[Finding]:
    expected = _possible_champions(known)
    artefact = f"registry {state.model_name}, alias {CHAMPION}"
    if state.champion not in expected:
        yield edited(
            artefact, state.champion, expected,
            "point it back, and find out who moved it; a person who means it uses "
            "`tessera promote`",
        )  # fmt: skip
        return
    last = known.overrides.get(known.last or "")
    if last is None or last.version != state.champion:
        return
    is_told = state.tags.get(last.version, {}).get(OVERRIDE_TAG)
    by_rule = any(_takes_over(each, last.version) for each in known.registered)
    if not is_told and not by_rule:
        yield edited(
            f"registry {state.model_name}/{last.version}, tag {OVERRIDE_TAG}", is_told,
            {last.sentence}, RESTORE_TAG,
        )  # fmt: skip


def _possible_champions(known: _Known) -> set[str | None]:
    """Return the versions that may serve, from the newest registration and what came after.

    None stands for no champion. Receipts hold no time. The newest version's registration says
    whom it left in charge; where that is nobody, whoever a registration crowned came later. After
    it only its own repetitions, a known version that won again, and decisions of people can have
    moved the alias, and each says who served before.
    """
    newest = max(int(_candidate(each)["version"]) for each in known.registered)
    latest = [each for each in known.registered if int(_candidate(each)["version"]) == newest]
    left = {_served(each) for each in latest}
    if None in left:
        left = {_served(each) for each in known.registered} - {None} or left
    moved = {str(each.facts.get("before")) for each in latest if _takes_over(each, _served(each))}
    serving = (left - moved) or left
    for each in known.registered:
        before, after = each.facts.get("before"), _served(each)
        is_late = before is not None and int(before) > int(_candidate(each)["version"])
        if is_late and before in serving and _takes_over(each, after):
            serving = (serving - {before}) | {after}
    return _after_people(serving, known)


def _after_people(serving: set[str | None], known: _Known) -> set[str | None]:
    """Return who may serve after the decisions of people that begin where the rule ended."""
    last = later = known.overrides.get(known.last or "")
    while last is not None and later is not None:
        if later.before is None or later.before in serving:
            return {last.version}
        earlier = known.overrides.get(later.previous or "")
        if earlier is None or earlier.version != later.before:
            break  # a registration came between the two
        later = earlier
    return serving


def _takes_over(receipt: Receipt, version: str | None) -> bool:
    """Return whether a registration made a version champion in the place of another."""
    before = receipt.facts.get("before")
    return before is not None and str(before) != version and _served(receipt) == version


def _served(receipt: Receipt) -> str | None:
    """Return the version that a registration left in charge, None where nobody had earned it."""
    champion = receipt.facts.get("champion")
    return None if champion is None else str(champion["version"])


def _candidate(receipt: Receipt) -> Mapping[str, Any]:
    candidate: Mapping[str, Any] = receipt.facts.get("candidate") or {}
    return candidate


def edited(artefact: str, found: object, expected: Iterable[object], next_step: str) -> Finding:
    """Return the finding that a pointer disagrees with the receipts, with both values."""
    due = " or ".join(sorted(repr(value) for value in expected)) or "nothing"
    return Finding(
        grade=Grade.BLOCK,
        artefact=artefact,
        problem=f"it says {found!r}, the receipts say {due}",
        next_step=next_step,
    )
