"""What stands on samples that saw the subject: shards, models, versions, exports."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tessera_core.errors import RecordError
from tessera_core.lineage.recall.recalled import Recalled, Samples, Sighting, sight
from tessera_core.records.files import digest_file, read_json
from tessera_core.records.lineage import Lineage
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt


class Way(StrEnum):
    """How something is affected."""

    SCENES = "scenes"
    """Its samples have the scenes."""

    TRAINING = "training"
    """Its model was trained on them."""

    TEACHER = "teacher"
    """Its model learned from a model that was trained on them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """The receipts that are affected, by digest."""

    subject: Recalled
    """What is recalled."""

    ingests: Mapping[str, Sighting]
    """Ingest receipts with how they saw it."""

    shuffles: frozenset[str]
    """Shuffle receipts."""

    models: Mapping[str, tuple[Way, ...]]
    """Pretrain receipts."""

    evaluations: frozenset[str]
    """Evaluate receipts: of affected models, or on affected samples."""

    versions: Mapping[str, str]
    """``name/version`` -> pretrain receipt."""

    exports: Mapping[str, tuple[Way, ...]]
    """Export receipts."""

    undecided: tuple[str, ...]
    """Digests of ingest receipts whose scenes tables are pruned, so that nothing can be said."""

    @property
    def receipts(self) -> frozenset[str]:
        """Every affected receipt that a stamp may name."""
        return frozenset((*self.ingests, *self.shuffles, *self.models, *self.exports))


def trace(
    subject: Recalled, lineage: Lineage, samples: Mapping[str, Samples], paths: Paths
) -> Trace:
    """Follow the subject forward from every ingest run that saw it."""
    ingests, undecided = {}, []
    for digest, each in samples.items():
        if (seen := sight(subject, each)) is not None:
            ingests[digest] = seen
        elif each.pruned or not each.manifest:
            undecided.append(digest)
    shuffles = {
        digest
        for digest, receipt in lineage.of_stage("shuffle").items()
        if receipt.upstream.get("ingest") in ingests
    }
    models = _trained(lineage, shuffles, paths)
    evaluations = {
        digest
        for digest, receipt in lineage.of_stage("evaluate").items()
        if {receipt.upstream.get("ingest"), receipt.upstream.get("pretrain")}
        & (ingests.keys() | models.keys())
    }
    return Trace(
        subject=subject,
        ingests=ingests,
        shuffles=frozenset(shuffles),
        models=models,
        evaluations=frozenset(evaluations),
        versions=_versions(lineage, models),
        exports=_exported(lineage, ingests, models),
        undecided=tuple(undecided),
    )


def _trained(lineage: Lineage, shuffles: Iterable[str], paths: Paths) -> dict[str, tuple[Way, ...]]:
    """Return the affected models; teaching and going on from a checkpoint pass it on."""
    pretrains = lineage.of_stage("pretrain")
    affected = set(shuffles)
    shards = {r.facts.get("shards"): r.upstream.get("shuffle") for r in pretrains.values()}
    found: dict[str, tuple[Way, ...]] = {}
    while True:
        known = {pretrains[digest].facts["model_digest"] for digest in found}
        grown = {}
        for digest, receipt in pretrains.items():
            settings, facts = receipt.config.get("pretrain", {}), receipt.facts
            begun = shards.get(_continued(settings, paths)) in affected
            # An imported model stands on these shards by name only.
            is_own = settings.get("imported") is None
            trained = is_own and (receipt.upstream.get("shuffle") in affected or begun)
            taught = facts.get("teacher") in known or (
                not is_own and facts["model_digest"] in known
            )
            ways = [way for way, holds in ((Way.TRAINING, trained), (Way.TEACHER, taught)) if holds]
            if ways:
                grown[digest] = tuple(ways)
        if grown == found:
            return found
        found = grown


def _versions(lineage: Lineage, models: Mapping[str, Any]) -> dict[str, str]:
    """Return the affected versions, candidates and champions, each with its pretrain receipt."""
    found = {}
    for receipt in lineage.of_stage("register").values():
        facts = receipt.facts
        name = facts.get("model_name")
        for one in (facts.get("candidate") or {}, facts.get("champion") or {}):
            if one.get("pretrain") in models and "version" in one:
                found[f"{name}/{one['version']}"] = str(one["pretrain"])
    return found


def _continued(settings: Mapping[str, Any], paths: Paths) -> str:
    """Return the digest of the shards that the run behind ``continue_from`` was trained on."""
    folder = settings.get("continue_from")
    claims = sorted((paths.root / folder).glob("step-*.json")) if folder else []
    try:
        return str(read_json(claims[-1])["identity"]["shards"]) if claims else ""
    except (RecordError, KeyError, TypeError):
        return ""


def _exported(
    lineage: Lineage, ingests: Mapping[str, Sighting], models: Mapping[str, Any]
) -> dict[str, tuple[Way, ...]]:
    """Return the affected exports; the model is the champion's, not the candidate's beside it."""
    found = {}
    for digest, receipt in lineage.of_stage("export").items():
        register = lineage.receipts.get(receipt.upstream.get("register", ""))
        facts = {} if register is None else register.facts
        champion = (facts.get("champion") or {}).get("pretrain")
        holds = {
            Way.SCENES: receipt.upstream.get("ingest") in ingests,
            Way.TRAINING: champion in models,
        }
        if any(holds.values()):
            found[digest] = tuple(way for way, held in holds.items() if held)
    return found


def current_receipts(paths: Paths) -> dict[str, dict[str, str]]:
    """Return workspace -> stage -> digest of the receipt that is current there.

    Workspaces are named relative to the checkout, which is ``.`` itself.
    """
    found = {}
    for workspace in paths.workspaces():
        files = sorted((workspace / "data" / "receipts").glob("*.json"))
        name = workspace.relative_to(paths.root).as_posix()
        found[name] = {path.stem: digest_file(path, workspace).sha256 for path in files}
    return found


def describe(receipt: Receipt) -> str:
    """Return what people call the outcome of a stage."""
    facts = receipt.facts
    match receipt.stage:
        case "export":
            return f"export {facts['export']}"
        case "pretrain":
            return f"model {facts['model_digest'][:12]}"
        case stage:
            return {"ingest": "samples", "shuffle": "shards"}.get(stage, f"outputs of {stage}")
