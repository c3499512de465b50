"""What receipts tell of a registry: its versions, who served, and why.

Receipts hold no time, so the order of decisions is found by what each says of the champion that
it met and left; no file's date is asked. A pure reading of ``data/lineage``: nothing is written.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flows.services.versions import override_tags
from tessera_core.errors import RecordError
from tessera_core.records.files import parse_json
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt
from tessera_core.register.gate import CHALLENGER, CHAMPION, describe_override
from tessera_core.register.stage import OVERRIDE_TAG

OVERRIDE: Final = "override"
REASONS_TAG: Final = "tessera.reasons"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """All records that still hash to their names, in an order that depends on nothing else."""

    receipts: Mapping[str, Receipt]
    """By digest; those that are some workspace's current ones come last."""

    overrides: Mapping[str, Mapping[str, Any]]
    """Decisions of people, by digest."""

    damaged: tuple[str, ...]
    """Files that do not hash to their names, relative to the root."""

    def of_stage(self, stage: str) -> list[tuple[str, Receipt]]:
        """Return the receipts of a stage with their digests."""
        return [(digest, each) for digest, each in self.receipts.items() if each.stage == stage]

    def chain(self, digest: str) -> dict[str, Receipt]:
        """Return a receipt and all that it stands on, by stage, as far as they are there."""
        chain: dict[str, Receipt] = {}
        waiting = [digest]
        while waiting:
            receipt = self.receipts.get(waiting.pop())
            if receipt is not None and receipt.stage not in chain:
                chain[receipt.stage] = receipt
                waiting += receipt.upstream.values()
        return chain

    def settings(self, digest: str) -> dict[str, Any]:
        """Return the sections of settings that a run had, from its receipts before and after."""
        chain = self.chain(digest)
        for stage in ("evaluate", "register", "export", "audit"):
            own = {each.digest for each in chain.values()}
            later = [
                each for _, each in self.of_stage(stage) if own.issuperset(each.upstream.values())
            ]
            if stage not in chain and later:
                chain[stage] = later[-1]
        return {name: part for each in chain.values() for name, part in each.config.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version that receipts name."""

    number: int
    """Its number in the registry."""

    model_digest: str
    """Its model."""

    pretrain: str
    """Receipt of the run that made it."""

    evaluate: str
    """Receipt of the scores it was registered with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A registered model as the records leave it."""

    name: str
    """Of the registered model."""

    versions: tuple[Version, ...]
    """By number."""

    aliases: Mapping[str, str]
    """Champion and challenger -> number of a version."""

    tags: Mapping[str, Mapping[str, str]]
    """Number of a version -> reasons and overrides."""

    is_certain: bool
    """False when no order of the decisions agrees with all of them: one is lost or was repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decision:
    """One decision about who serves."""

    digest: str
    version: str
    before: tuple[str | None, ...] | None
    """Champions that it may have met; None when its record does not say."""

    after: str | None
    """Champion that it left; None where nobody has earned it yet."""

    alias: str
    reasons: str
    is_override: bool

    @property
    def order(self) -> tuple[int, int, str]:
        """Numbers grow with time, so a decision is no older than the newest version it names."""
        named = [self.version, self.after, *(self.before or ())]
        return (max(int(name) for name in named if name), int(self.version), self.digest)

    def may_follow(self, champion: str | None) -> bool:
        """Return whether it can have met this champion."""
        return champion in self.before if self.before is not None else champion != self.version


def read_lineage(paths: Paths) -> Lineage:
    """Return all receipts and overrides of a checkout, of its runs with other settings too."""
    current = [
        path
        for folder in (paths.root, *sorted(paths.root.glob("data/runs/*")))
        for path in sorted((folder / "data" / "receipts").glob("*.json"))
    ]
    receipts: dict[str, Receipt] = {}
    overrides: dict[str, Mapping[str, Any]] = {}
    damaged = []
    for path in (*sorted(paths.lineage.glob("*.json")), *current):
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        # A current receipt is no evidence of its own: the lineage must have it too.
        if digest not in receipts if path in current else path.stem != digest:
            damaged.append(path.relative_to(paths.root).as_posix())
            continue
        record = _parse(content)
        if record.get("kind") == OVERRIDE:
            overrides[digest] = record
        elif "stage" in record:
            try:
                receipt = Receipt.read(path)
            except RecordError:
                damaged.append(path.relative_to(paths.root).as_posix())
                continue
            receipts.pop(digest, None)  # a current one moves to the end
            receipts[digest] = receipt
    return Lineage(receipts=receipts, overrides=overrides, damaged=tuple(damaged))


def standings(lineage: Lineage) -> list[Standing]:
    """Return every registered model that register receipts speak of."""
    registers = [each for _, each in lineage.of_stage("register")]
    names = sorted({str(each.facts["model_name"]) for each in registers})
    return [_standing(name, lineage) for name in names]


def _standing(name: str, lineage: Lineage) -> Standing:
    registers = {
        digest: each
        for digest, each in lineage.of_stage("register")
        if each.facts["model_name"] == name
    }
    people = {d: each for d, each in lineage.overrides.items() if each["model_name"] == name}
    decisions = sorted(
        [*_by_rule(registers), *_by_people(people)], key=lambda decision: decision.order
    )
    state, is_certain = _State(champion=None, challenger=None, tags={}), True
    while decisions:
        chosen = _next(decisions, state.champion)
        is_certain &= chosen is not None
        state = _apply(chosen or decisions[0], state)
        decisions.remove(chosen or decisions[0])
    aliases = {CHAMPION: state.champion, CHALLENGER: state.challenger}
    return Standing(
        name=name,
        versions=_versions(registers, people),
        aliases={alias: version for alias, version in aliases.items() if version is not None},
        tags=state.tags,
        is_certain=is_certain,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    champion: str | None
    challenger: str | None
    tags: Mapping[str, Mapping[str, str]]


def _next(decisions: Sequence[_Decision], champion: str | None) -> _Decision | None:
    """Return the decision to come next: first those that leave the champion, then the earliest."""
    fitting = [each for each in decisions if each.may_follow(champion)]
    leaving = [each for each in fitting if each.after == champion]
    return next(iter((*leaving, *fitting)), None)


def _apply(decision: _Decision, state: _State) -> _State:
    known = state.tags.get(decision.version, {})
    if decision.is_override:
        told = override_tags(decision.reasons, decision.digest)
    else:
        told = {REASONS_TAG: decision.reasons}
        if known.get(OVERRIDE_TAG) and decision.version != state.champion:
            told[OVERRIDE_TAG] = ""
    challenger = decision.version if decision.alias == CHALLENGER else state.challenger
    return _State(
        champion=decision.after,
        challenger=None if challenger == decision.after else challenger,
        tags={**state.tags, decision.version: {**known, **told}},
    )


def _by_rule(registers: Mapping[str, Receipt]) -> Iterator[_Decision]:
    for digest, receipt in registers.items():
        facts = receipt.facts
        version, served = str(facts["candidate"]["version"]), facts["champion"]
        after = None if served is None else str(served["version"])
        alias = str(facts["decision"]["alias"])
        before: tuple[str | None, ...] | None = None
        if alias == CHALLENGER:
            before = (after,)
        elif "before" in facts:
            before = (facts["before"],)  # receipts of earlier code do not say it
        elif not facts.get("evidence"):
            before = (None, version)  # nothing was compared: it was the first, or served already
        yield _Decision(
            digest=digest, version=version, before=before, after=after, alias=alias,
            reasons="; ".join(facts["decision"]["reasons"]), is_override=False,
        )  # fmt: skip


def _by_people(people: Mapping[str, Mapping[str, Any]]) -> Iterator[_Decision]:
    for digest, record in people.items():
        version = str(record["version"])
        decision = describe_override(CHAMPION, record["by"], record["reason"])
        yield _Decision(
            digest=digest, version=version, before=(record["before"],), after=version,
            alias=CHAMPION, reasons=decision.reasons[0], is_override=True,
        )  # fmt: skip


def _versions(
    registers: Mapping[str, Receipt], people: Mapping[str, Mapping[str, Any]]
) -> tuple[Version, ...]:
    """Return the versions; what a champion is said to be scored by is what it came with."""
    found: dict[int, Version] = {}
    told = [
        *(receipt.facts["candidate"] for receipt in registers.values()),
        *({"pretrain": None, **record} for record in people.values()),
        *(champion for receipt in registers.values() if (champion := receipt.facts["champion"])),
    ]
    for one in told:
        number = int(one["version"])
        if one["pretrain"] is None and number not in found:
            continue  # an override of a version that no register receipt names
        found[number] = Version(
            number=number,
            model_digest=one["model_digest"],
            pretrain=one["pretrain"] or found[number].pretrain,
            evaluate=one["evaluate"],
        )
    return tuple(found[number] for number in sorted(found))


def _parse(content: bytes) -> dict[str, Any]:
    try:
        record = parse_json(content, "a record")
    except RecordError:
        return {}
    return record if isinstance(record, dict) else {}
