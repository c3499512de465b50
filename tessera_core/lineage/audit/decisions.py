"""Decisions of people that the lineage keeps, and what receipts say of them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from tessera_core.lineage.audit.evidence import Evidence
from tessera_core.lineage.audit.report import Finding, Grade
from tessera_core.records.lineage import receipts_of, stored_files
from tessera_core.records.overrides import OVERRIDE_MARK, Override, overrides_of
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt

OVERRIDE_WORDS: Final = " decided: "
"""What a reason contains where a person decided, in receipts of releases without the field."""

RESTORE_DECISION: Final = (
    "restore data/lineage from a backup or another clone; without the record nobody answers for "
    "this champion"
)


def check_overrides(
    receipts: Mapping[str, Receipt], evidence: Evidence, paths: Paths
) -> list[Finding]:
    """Return who overruled the gate in this chain, and what is wrong with the records of it.

    Every decision of a person in the lineage is verified: it must hash to its name, and so must
    the one before it. A register receipt that tells of a decision needs its record.
    """
    findings = list(_damaged(evidence, paths))
    overrides = overrides_of(paths.lineage)
    findings += _gaps(overrides, evidence, paths)
    findings += _shared_numbers(receipts, overrides.values(), paths)
    for digest, receipt in receipts.items():
        if receipt.stage == "register":
            findings += _told(digest, receipt, overrides)
    return findings


def _damaged(evidence: Evidence, paths: Paths) -> Iterator[Finding]:
    for stored in stored_files(paths.lineage, OVERRIDE_MARK):
        if not evidence.holds(stored.path, stored.path.stem):
            yield _block(
                evidence.name(stored.path),
                "this decision of a person was changed: it does not hash to its name",
                RESTORE_DECISION,
            )


def _gaps(overrides: Mapping[str, Override], evidence: Evidence, paths: Paths) -> Iterator[Finding]:
    for digest, each in sorted(overrides.items()):
        if each.previous is None:
            continue
        path = paths.lineage / f"{each.previous}.json"
        if not evidence.holds(path, each.previous):
            yield _block(
                evidence.name(path),
                f"the decision of a person before {digest[:12]} is missing or was changed",
                RESTORE_DECISION,
            )


def _shared_numbers(
    receipts: Mapping[str, Receipt], overrides: Iterable[Override], paths: Paths
) -> Iterator[Finding]:
    """Yield the version numbers that stand for two models, of the models that a chain names.

    An older registry that was restored gives a number again; every reference to it is ambiguous.
    """
    names = {each.facts.get("model_name") for each in receipts.values() if each.stage == "register"}
    known: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for digest, receipt in receipts_of("register", paths.lineage).items() if names else ():
        for role in ("candidate", "champion"):
            one = receipt.facts.get(role) or {}
            if one.get("version") and one.get("model_digest"):
                number = str(receipt.facts.get("model_name")), str(one["version"])
                known[number][str(one["model_digest"])].add(digest)
    for each in overrides:
        known[each.model_name, each.version][each.model_digest] |= set()
    for (name, version), models in sorted(known.items()):
        if name in names and len(models) > 1:
            told = " and ".join(sorted(digest[:12] for digest in models))
            yield _block(
                f"version {version} of {name}",
                f"the lineage knows {len(models)} models by this number: {told}",
                "find out which registry gave the number again (an older backup was restored?), "
                "and register one of the models anew under a number of its own",
                *sorted({digest for by in models.values() for digest in by}),
            )


def _told(digest: str, receipt: Receipt, overrides: Mapping[str, Override]) -> Iterator[Finding]:
    """Yield what is to be said of one register receipt."""
    champion = receipt.facts.get("champion") or {}
    own = [
        each
        for each in overrides.values()
        if each.model_name == receipt.facts.get("model_name")
        and each.model_digest == champion.get("model_digest")
        and each.version == champion.get("version")
    ]
    artefact = f"register receipt {digest[:12]}"
    if (said := _without_record(receipt, overrides, own)) is not None:
        yield _block(
            artefact, f"it says {said!r}, but the lineage has no record of that decision",
            RESTORE_DECISION, digest,
        )  # fmt: skip
    for each in own:
        served = "nothing" if each.before is None else f"version {each.before}"
        yield Finding(
            grade=Grade.NOTE,
            artefact=artefact,
            problem=f"a person made version {each.version} champion, before it {served} served: "
            f"{each.sentence}",
            next_step=f"nothing, if {each.by} may decide that",
            concerns=(digest,),
        )


def _without_record(
    receipt: Receipt, overrides: Mapping[str, Override], own: Iterable[Override]
) -> str | None:
    """Return what a register receipt says of a person's decision that has no record, or None."""
    if "override" in receipt.facts:
        met = receipt.facts["override"]
        if met is None:
            return None
        named = {met["record"]} if met["record"] else overrides.keys()
        records = [overrides[digest] for digest in named & overrides.keys()]
        is_known = any(each.sentence == met["sentence"] for each in records)
        return None if is_known else str(met["sentence"])
    reasons = "; ".join((receipt.facts.get("decision") or {}).get("reasons", ()))
    is_known = any(each.sentence in reasons for each in own)
    return reasons if OVERRIDE_WORDS in reasons and not is_known else None


def _block(artefact: str, problem: str, next_step: str, *concerns: str) -> Finding:
    return Finding(
        grade=Grade.BLOCK, artefact=artefact, problem=problem, next_step=next_step,
        concerns=concerns,
    )  # fmt: skip
