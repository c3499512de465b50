"""What receipts tell of a registry: its versions, who served, and why.

Receipts hold no time, so the order of decisions is found by what each says of the champion that
it met and left; no file's date is asked. A pure reading of ``data/lineage``: nothing is written.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from flows.services.versions import override_tags
from tessera_core.records.files import digest_file
from tessera_core.records.lineage import Lineage, read_lineage
from tessera_core.records.overrides import Override, overrides_of
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt
from tessera_core.register.gate import CHALLENGER, CHAMPION
from tessera_core.register.stage import OVERRIDE_TAG

REASONS_TAG: Final = "tessera.reasons"


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All records of a checkout that hash to their names, in an order that no clock decides."""

    lineage: Lineage
    """Receipts that are some workspace's current ones come last."""

    overrides: Mapping[str, Override]
    """Decisions of people, by digest."""

    damaged: tuple[str, ...]
    """Files that do not hash to their names, relative to the root."""

    def settings(self, digest: str) -> dict[str, Any]:
        """Return the sections of settings that a run had, from its receipts before and after."""
        chain = self.lineage.chain(digest)
        for stage in ("evaluate", "register", "export", "audit"):
            own = {each.digest for each in chain.values()}
            later = [
                each
                for each in self.lineage.of_stage(stage).values()
                if own.issuperset(each.upstream.values())
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


def read_history(paths: Paths) -> History:
    """Return all receipts and overrides of a checkout, of its runs with other settings too."""
    lineage = read_lineage(paths.lineage)
    receipts = dict(lineage.receipts)
    damaged = [
        (paths.lineage / name).relative_to(paths.root).as_posix() for name in lineage.changed
    ]
    for workspace in paths.workspaces():
        for path in sorted((workspace / "data" / "receipts").glob("*.json")):
            digest = digest_file(path, workspace).sha256
            # A current receipt is no evidence of its own: the lineage must have it too.
            if digest in receipts:
                receipts[digest] = receipts.pop(digest)
            else:
                damaged.append(path.relative_to(paths.root).as_posix())
    return History(
        lineage=replace(lineage, receipts=receipts),
        overrides=overrides_of(paths.lineage),
        damaged=tuple(damaged),
    )


def standings(history: History) -> list[Standing]:
    """Return every registered model that register receipts speak of."""
    registers = history.lineage.of_stage("register").values()
    names = sorted({str(each.facts["model_name"]) for each in registers})
    return [_standing(name, history) for name in names]


def _standing(name: str, history: History) -> Standing:
    registers = {
        digest: each
        for digest, each in history.lineage.of_stage("register").items()
        if each.facts["model_name"] == name
    }
    people = {d: each for d, each in history.overrides.items() if each.model_name == name}
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


def _by_people(people: Mapping[str, Override]) -> Iterator[_Decision]:
    for digest, each in people.items():
        yield _Decision(
            digest=digest, version=each.version, before=(each.before,), after=each.version,
            alias=CHAMPION, reasons=each.sentence, is_override=True,
        )  # fmt: skip


def _versions(
    registers: Mapping[str, Receipt], people: Mapping[str, Override]
) -> tuple[Version, ...]:
    """Return the versions; what a champion is said to be scored by is what it came with."""
    found: dict[int, Version] = {}
    told = [
        *(receipt.facts["candidate"] for receipt in registers.values()),
        *({"pretrain": None, **each.to_dict()} for each in people.values()),
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
