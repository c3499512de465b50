"""Stamp what a recall's re-runs supersede; nothing is deleted or changed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tessera_core.lineage.recall.recalled import read_samples
from tessera_core.lineage.recall.report import Recall
from tessera_core.lineage.recall.trace import Trace, current_receipts, describe, trace
from tessera_core.records.content import Contents
from tessera_core.records.lineage import Lineage, read_lineage
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt
from tessera_core.records.superseded import Superseded, stamp_superseded

STAMPED: Final = ("ingest", "shuffle", "pretrain", "export")


def stamp_recalled(
    recall: Recall, found: Trace, replacements: Mapping[str, Path], paths: Paths
) -> tuple[list[Superseded], list[str]]:
    """Stamp every affected receipt, model and export.

    Args:
        recall: The answer that the plan came from.
        found: What was affected before the plan was carried out.
        replacements: Workspace of a re-run of the plan -> workspace that it ran in.
        paths: The checkout.

    Returns:
        The stamps, and a line per new export that a recalled model made still: the promotion
        rule kept its version, so nothing replaces what it made.
    """
    lineage = read_lineage(paths.lineage)
    after = trace(found.subject, lineage, read_samples(lineage, Contents.of(paths)), paths)
    current = current_receipts(paths)
    new = {
        old: current[workspace.relative_to(paths.root).as_posix()]
        for old, workspace in replacements.items()
    }
    stamps = []
    for digest in sorted(found.receipts):
        receipt = lineage.receipts[digest]
        if receipt.stage not in STAMPED:
            continue
        replaced_by = _replacement(digest, receipt, current, new, lineage, after)
        for target, what in _targets(digest, receipt):
            stamps.append(
                Superseded(
                    digest=target,
                    what=what,
                    reason=f"{found.subject.kind} {found.subject.name} was recalled",
                    replaced_by=replaced_by,
                    recall=recall.digest,
                )
            )
    stamp_superseded(stamps, paths.lineage)
    kept = [
        _keeps(lineage.receipts[held["register"]])
        for held in new.values()
        if held.get("export") in after.exports
    ]
    return stamps, kept


def _replacement(
    digest: str,
    receipt: Receipt,
    current: Mapping[str, Mapping[str, str]],
    new: Mapping[str, Mapping[str, str]],
    lineage: Lineage,
    after: Trace,
) -> str:
    """Return the receipt that takes the place of one, or empty where nothing clean does."""
    holders = [workspace for workspace, held in current.items() if digest in held.values()]
    candidates = [workspace for workspace in holders or new if workspace in new]
    if not candidates:
        return ""
    held = new[candidates[0]]
    if receipt.stage == "pretrain":
        # What serves in its place, which need not be what was trained last.
        served = lineage.receipts[held["register"]].facts["champion_receipts"]
        replacement = served.get("pretrain", "")
    else:
        replacement = held.get(receipt.stage, "")
    return "" if replacement in after.receipts else str(replacement)


def _targets(digest: str, receipt: Receipt) -> Iterator[tuple[str, str]]:
    """Yield the digests by which an artifact may be asked for."""
    what = describe(receipt)
    yield digest, f"{receipt.stage} receipt of {what}"
    if receipt.stage == "export":
        yield receipt.outputs[0].sha256, what
    if receipt.stage == "pretrain":
        yield receipt.facts["model_digest"], what


def _keeps(register: Receipt) -> str:
    facts = register.facts
    champion, candidate = facts["champion"], facts["candidate"]
    return (
        f"{facts['model_name']} version {champion['version']} has seen it and still serves: the "
        f"promotion rule made version {candidate['version']}, trained without it, "
        f"{facts['decision']['alias']}"
    )
