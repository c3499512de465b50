"""The smallest set of runs that replaces what was published with the recalled data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tessera_core.lineage.recall.trace import Trace
from tessera_core.records.cycle import STAGES
from tessera_core.records.lineage import Lineage
from tessera_core.records.paths import Paths
from tessera_core.records.superseded import superseded_by

CYCLE: Final = tuple(STAGES)
"""Each names its upstream by digest, so that new samples make all of them run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """One workspace that has to run again without the recalled data."""

    workspace: str
    """Relative to the checkout."""

    overrides: tuple[str, ...]
    """Settings of the new run, ``ingest.exclude`` among them."""

    stages: tuple[str, ...]
    """What runs."""

    reused: tuple[str, ...]
    """What comes out, or goes in, as it was."""

    replaces: tuple[str, ...]
    """Digests of the export receipts that its export supersedes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do."""

    reruns: tuple[Rerun, ...]
    """One per workspace that has published something that is not replaced yet."""

    without_rerun: tuple[str, ...]
    """Affected workspaces that have published nothing: trials, runs that a gate stopped."""


def make_plan(
    found: Trace,
    lineage: Lineage,
    current: Mapping[str, Mapping[str, str]],
    settings: Mapping[str, Mapping[str, Any]],
    paths: Paths,
) -> Plan:
    """Return what has to run again.

    Args:
        found: What is affected.
        lineage: All receipts.
        current: Workspace -> stage -> digest of its current receipt.
        settings: The values of ``params.yaml`` by section; overrides are named against them.
        paths: The checkout.
    """
    reruns, left = [], []
    for workspace, receipts in current.items():
        affected = {stage: d for stage, d in receipts.items() if d in found.receipts}
        if not affected:
            continue
        export = affected.get("export")
        if export is None or export not in lineage.receipts:
            left.append(workspace)
            continue
        if _is_replaced(export, paths):
            continue
        reruns.append(
            Rerun(
                workspace=workspace,
                overrides=_overrides(found, lineage, receipts, settings),
                stages=CYCLE,
                reused=_reused(found, lineage, receipts),
                replaces=tuple(
                    sorted(
                        digest
                        for digest in found.exports
                        if digest == export
                        or (digest not in _all(current) and not _is_replaced(digest, paths))
                    )
                ),
            )
        )
    return Plan(reruns=tuple(reruns), without_rerun=tuple(left))


def exclusion(found: Trace, lineage: Lineage, receipts: Mapping[str, str]) -> list[str]:
    """Return ``ingest.exclude`` of a workspace's next run."""
    ingest = lineage.receipts.get(receipts.get("ingest", ""))
    before = [] if ingest is None else ingest.config.get("ingest", {}).get("exclude", [])
    return sorted({*before, found.subject.name})


def _overrides(
    found: Trace,
    lineage: Lineage,
    receipts: Mapping[str, str],
    settings: Mapping[str, Mapping[str, Any]],
) -> tuple[str, ...]:
    """Return how a workspace's settings, by its receipts, differ from params.yaml."""
    changed = {"ingest.exclude": exclusion(found, lineage, receipts)}
    for digest in receipts.values():
        receipt = lineage.receipts.get(digest)
        for section, values in ({} if receipt is None else receipt.config).items():
            for name, value in values.items():
                is_known = name in settings.get(section, {})
                if is_known and settings[section][name] != value and name != "exclude":
                    changed[f"{section}.{name}"] = value
    return tuple(f"{name}={json.dumps(value)}" for name, value in sorted(changed.items()))


def _reused(found: Trace, lineage: Lineage, receipts: Mapping[str, str]) -> tuple[str, ...]:
    ingest = receipts.get("ingest", "")
    lines = []
    if ingest in found.ingests:
        seen = found.ingests[ingest]
        tiles = lineage.receipts[ingest].facts.get("tiles", {})
        untouched = len(tiles) - len(seen.tiles)
        if seen.is_certain and untouched:
            lines.append(
                f"{untouched} of {len(tiles)} tiles do not have it: their samples come out with "
                "the same digest, and DVC stores them once"
            )
    pretrain = lineage.receipts.get(receipts.get("pretrain", ""))
    settings = {} if pretrain is None else pretrain.config.get("pretrain", {})
    if settings.get("imported") is not None:
        lines.append("the model is imported: pretrain copies it, nothing is trained")
    return tuple(lines)


def _is_replaced(digest: str, paths: Paths) -> bool:
    stamp = superseded_by(paths.lineage, digest)
    return stamp is not None and bool(stamp.replaced_by)


def _all(current: Mapping[str, Mapping[str, str]]) -> set[str]:
    return {digest for receipts in current.values() for digest in receipts.values()}
