"""The register stage: a trained and scored model becomes a version, and perhaps champion."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tessera_core.errors import InputError, RecordError
from tessera_core.records.evaluation import is_unscored
from tessera_core.records.files import FileDigest, atomic_folder, read_json, write_json
from tessera_core.records.lineage import read_receipt
from tessera_core.records.manifest import MANIFEST_NAME, Manifest, find_differences, write_manifest
from tessera_core.records.outcome import Outcome
from tessera_core.records.receipt import Receipt
from tessera_core.register.card import render_card
from tessera_core.register.decided import (
    Decided,
    find_decision,
    overtaken,
    read_decided,
    require_known_registry,
    write_decision,
)
from tessera_core.register.evidence import read_baselines, read_evidence
from tessera_core.register.first import NEXT, judge_first
from tessera_core.register.gate import CHALLENGER, CHAMPION, Decision, decide

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tessera_core.config import PlatformConfig
    from tessera_core.ports import ModelRegistry, Ports, RegisteredModel
    from tessera_core.records.paths import Paths

REGISTRATION_NAME = "registration.json"
OVERRIDE_TAG = "tessera.override"
"""Who made a version champion against or without the rule, and why."""

OVERRIDE_RECORD_TAG = "tessera.receipt.override"
"""Digest of that decision's record in the lineage."""


def sources(config: PlatformConfig, paths: Paths) -> tuple[FileDigest, ...]:
    """Return nothing: the stage reads only what pretrain and evaluate made."""
    return ()


def run(config: PlatformConfig, paths: Paths, ports: Ports) -> Outcome:
    """Register the model, decide its alias, and lay out the champion for export, if there is one.

    The decision is written into the lineage before the registry hears of it. Running it again for
    a model that is registered changes nothing, unless the rule has changed or another run has
    moved the champion since; after an interruption it finishes what was decided.

    Raises:
        RecordError: The registry is older than the lineage, or an artifact was changed.
        RemoteError: The registry gave no usable answer.
    """
    registry = ports.registry
    if registry is None:
        raise InputError(
            "register moves an alias and needs a model registry; run `tessera register` or "
            "`tessera retrain`, not a bare stage or dvc repro"
        )
    pretrain, evaluate = (Receipt.read(paths.receipt(s)) for s in ("pretrain", "evaluate"))
    seen = _look(config, paths, registry)
    model, incumbent, decided, known = seen.model, seen.incumbent, seen.decided, seen.known
    rule = config.section("register")
    if known is not None and _is_settled(paths.registration, known, incumbent, evaluate, rule):
        return _outcome(paths)
    tags = version_tags(config.digest, ports.data_versions, model.digest, pretrain, evaluate)
    wanted = {"model_digest": model.digest, "evaluate": evaluate.digest, "rule": rule}
    settled = find_decision(wanted, decided, incumbent)
    if settled is None:
        decision, evidence = _decide(incumbent, known, model.digest, evaluate, config, paths)
        if incumbent is not None and incumbent.model_digest != model.digest:
            notes = overtaken(wanted, decided)
            decision = replace(decision, reasons=(*decision.reasons, *notes))
        settled = {
            **wanted,
            "model_name": config.register.model_name,
            "decision": {
                "alias": decision.alias,
                "reasons": list(decision.reasons),
                "numbers": dict(decision.numbers),
            },
            "evidence": evidence,
            # What the registry is told, so that an audit can tell when it says something else.
            "before": None if incumbent is None else incumbent.version,
            "override": "" if incumbent is None else incumbent.override,
            "override_record": _record_of_override(incumbent),
            "tags": tags if known is None or _is_first_score(known, evaluate, paths) else {},
        }
        write_decision(settled, decided, paths.lineage)
    version = known or registry.register(paths.model, tags)
    version, champion = _tell_registry(registry, version, incumbent, settled)
    _write_registration(registry, version, champion, settled, paths, pretrain, evaluate)
    return _outcome(paths)


def is_settled(config: PlatformConfig, paths: Paths, registry: ModelRegistry) -> bool:
    """Return whether ``run`` would change nothing; raises as ``run`` before it decides."""
    known, champion = (seen := _look(config, paths, registry)).known, seen.incumbent
    evaluate, rule = Receipt.read(paths.receipt("evaluate")), config.section("register")
    return known is not None and _is_settled(paths.registration, known, champion, evaluate, rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What a decision starts from."""

    model: Manifest
    incumbent: RegisteredModel | None
    known: RegisteredModel | None
    """The version that this model is already."""

    decided: Decided
    """What the lineage knows of the model."""


def _look(config: PlatformConfig, paths: Paths, registry: ModelRegistry) -> _Seen:
    """Look at model, registry and earlier decisions, which must belong together."""
    model = Manifest.read(paths.model)
    if differences := find_differences(paths.model, model):
        raise RecordError(f"{differences[0]}; run `tessera pretrain` again")
    versions, incumbent = registry.listed(), registry.champion()
    decided = read_decided(config.register.model_name, paths.lineage)
    require_known_registry(config.register.model_name, decided, versions, registry.reached())
    known = next((each for each in reversed(versions) if each.model_digest == model.digest), None)
    return _Seen(model=model, incumbent=incumbent, known=known, decided=decided)


def _tell_registry(
    registry: ModelRegistry,
    version: RegisteredModel,
    incumbent: RegisteredModel | None,
    settled: Mapping[str, Any],
) -> tuple[RegisteredModel, RegisteredModel | None]:
    """Give the version its reasons and its alias; return it, and who serves then."""
    alias, because = settled["decision"]["alias"], "; ".join(settled["decision"]["reasons"])
    reasons = {"tessera.reasons": because}
    if version.override and version != incumbent:
        reasons[OVERRIDE_TAG] = ""  # what a person once said of it no longer holds
    if settled["tags"] and version.receipt != settled["evaluate"]:
        # Imported weights are registered before they are scored; labels may come later, too.
        version = replace(version, receipt=settled["evaluate"])
        reasons |= settled["tags"]
    registry.set_alias(alias, version.version, reasons)
    return version, version if alias == CHAMPION else incumbent


def _write_registration(
    registry: ModelRegistry,
    version: RegisteredModel,
    champion: RegisteredModel | None,
    settled: Mapping[str, Any],
    paths: Paths,
    pretrain: Receipt,
    evaluate: Receipt,
) -> None:
    """Lay out the champion, if there is one, with the decision and the card."""
    told = ("model_name", "decision", "evidence", "rule", "before", "tags")
    record = {
        **{name: settled[name] for name in told},
        "candidate": _describe(version, pretrain.digest, evaluate.digest),
        "champion": None if champion is None else _champion_record(champion, paths),
        # By this field, and not by the words of a reason, an audit knows that a person decided.
        "override": _override_met(settled),
    }
    with atomic_folder(paths.registration) as folder:
        if champion is not None:
            _lay_out_champion(
                registry, champion, settled["model_digest"], paths, folder / "champion"
            )  # fmt: skip
        write_json(folder / REGISTRATION_NAME, record)
        card = render_card(
            settled["model_name"], version.version, pretrain, evaluate,
            Decision(**settled["decision"]),
        )  # fmt: skip
        (folder / "card.md").write_text(card, encoding="utf-8")
        write_manifest(folder, "registration", record)


def _record_of_override(incumbent: RegisteredModel | None) -> str:
    return incumbent.override_record if incumbent is not None and incumbent.override else ""


def _override_met(settled: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the decision of a person by which the champion served that a decision met."""
    if not settled["override"]:
        return None
    # Decisions that earlier releases left unfinished name no record.
    return {"sentence": settled["override"], "record": settled.get("override_record", "")}


def _decide(
    incumbent: RegisteredModel | None,
    known: RegisteredModel | None,
    model_digest: str,
    evaluate: Receipt,
    config: PlatformConfig,
    paths: Paths,
) -> tuple[Decision, dict[str, str]]:
    """Return the decision, and the digests of what it rests on."""
    if incumbent is not None and incumbent.model_digest == model_digest:
        return _of_champion(incumbent, evaluate, paths), {}
    if incumbent is not None and incumbent.override and known is not None:
        reason = (
            f"version {incumbent.version} serves because {incumbent.override}; this version was "
            "known by then, and only a new one can take over by the rule"
        )
        return Decision(alias=CHALLENGER, reasons=(reason,)), {}
    champion = None if incumbent is None else incumbent.model_digest
    evidence, sources = read_evidence(paths, evaluate, champion)
    # Raises where the lineage has lost what the champion was registered with. One that was never
    # scored is no measure: whoever has a score must earn its place as a first version does.
    has_measure = incumbent is not None and (
        not _is_unscored(incumbent, paths) or is_unscored(evaluate.facts)
    )
    if not has_measure:
        evidence = replace(evidence, baselines=read_baselines(paths.evaluation))
    return decide(evidence, config.register, has_champion=has_measure), sources


def _of_champion(champion: RegisteredModel, evaluate: Receipt, paths: Paths) -> Decision:
    """Return why a champion stays, and what its first scores say where it served without any."""
    reasons = [champion.override or "this model is the champion already"]
    if _is_unscored(champion, paths) and not is_unscored(evaluate.facts):
        first = judge_first(read_baselines(paths.evaluation))
        verdict = "would not earn its place" if first.blocks else "has earned its place"
        blocks = (each for each in first.blocks if each != NEXT)
        reasons += [f"scored for the first time, it {verdict}", *blocks, *first.told]
    return Decision(alias=CHAMPION, reasons=tuple(reasons))


def _is_settled(
    folder: Path,
    known: RegisteredModel,
    champion: RegisteredModel | None,
    evaluate: Receipt,
    rule: dict[str, Any],
) -> bool:
    """Return whether the last registration still says all there is to say."""
    path = folder / REGISTRATION_NAME
    if not path.is_file():
        return False
    record = read_json(path)
    serving = None if record["champion"] is None else record["champion"]["version"]
    same = (
        record["candidate"]["version"] == known.version
        and record["candidate"]["evaluate"] == evaluate.digest
        and serving == (None if champion is None else champion.version)
        and record.get("rule") == rule
    )
    return same and not find_differences(folder, Manifest.read(folder))


def _outcome(paths: Paths) -> Outcome:
    record = read_json(paths.registration / REGISTRATION_NAME)
    champion = record["champion"] or {}
    stages = ("pretrain", "evaluate")
    facts = {**record, "champion_receipts": {each: champion[each] for each in stages if champion}}
    return Outcome(outputs=(paths.registration / MANIFEST_NAME,), facts=facts)


def version_tags(
    config_digest: str,
    data_versions: Mapping[str, str],
    model_digest: str,
    pretrain: Receipt,
    evaluate: Receipt,
) -> dict[str, str]:
    """Return the pointers that the registry shows beside a version."""
    return {
        "tessera.model_digest": model_digest,
        "tessera.receipt.pretrain": pretrain.digest,
        "tessera.receipt.evaluate": evaluate.digest,
        "tessera.config_digest": config_digest,
        "tessera.git_commit": pretrain.code.commit,
        "tessera.git_dirty": str(pretrain.code.dirty).lower(),
        "tessera.simulated": str(evaluate.facts["simulated"]).lower(),
        "tessera.unscored": str(is_unscored(evaluate.facts)).lower(),
        **data_versions,
    }


def _archived(version: RegisteredModel, paths: Paths) -> Receipt:
    """Return the evaluate receipt that a version was registered with."""
    return read_receipt(version.receipt, paths.lineage)


def _is_first_score(version: RegisteredModel, evaluate: Receipt, paths: Paths) -> bool:
    """Return whether a registered version had no scores before this evaluation."""
    return not version.receipt or (_is_unscored(version, paths) and not is_unscored(evaluate.facts))


def _is_unscored(version: RegisteredModel, paths: Paths) -> bool:
    """Return whether a version was registered without any score."""
    return not version.receipt or is_unscored(_archived(version, paths).facts)


def _champion_record(champion: RegisteredModel, paths: Paths) -> dict[str, Any]:
    receipt = _archived(champion, paths)
    described = _describe(champion, receipt.upstream["pretrain"], champion.receipt)
    return {
        **described,
        "simulated": bool(receipt.facts["simulated"]),
        "unscored": is_unscored(receipt.facts),
    }


def _describe(version: RegisteredModel, pretrain: str, evaluate: str) -> dict[str, Any]:
    return {
        "version": version.version,
        "model_digest": version.model_digest,
        "pretrain": pretrain,
        "evaluate": evaluate,
    }


def _lay_out_champion(
    registry: ModelRegistry, champion: RegisteredModel, own_digest: str, paths: Paths, target: Path
) -> None:
    """Copy the champion's artifact, from this workspace or from the registry."""
    if champion.model_digest == own_digest:
        shutil.copytree(paths.model, target)
    else:
        registry.fetch(champion.version, target)
    found = Manifest.read(target)
    if found.digest != champion.model_digest:
        raise RecordError(
            f"the registry's artifact of version {champion.version} has digest {found.digest}, "
            f"its tag says {champion.model_digest}; one of them was changed. Audit before going on"
        )
    if differences := find_differences(target, found):
        raise RecordError(
            f"the registry's artifact of version {champion.version} was changed: "
            f"{differences[0]}. Audit before going on"
        )
