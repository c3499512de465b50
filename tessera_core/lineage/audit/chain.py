"""Follow receipts backwards by digest, and verify every file that they name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tqdm import tqdm

from tessera_core.errors import RecordError
from tessera_core.lineage.audit.checks import Chain, champion_receipts, check_chain, has_champion
from tessera_core.lineage.audit.comparisons import check_comparisons
from tessera_core.lineage.audit.decisions import check_overrides
from tessera_core.lineage.audit.evidence import Evidence
from tessera_core.lineage.audit.outputs import (
    RESTORE_LINEAGE,
    Verified,
    Wanted,
    verify_outputs,
    verify_sources,
)
from tessera_core.lineage.audit.report import (
    AuditReport,
    Finding,
    Grade,
    Step,
    concerning,
    in_order,
    sources_of,
)
from tessera_core.lineage.audit.signatures import check_signatures
from tessera_core.lineage.audit.stamps import check_stamps
from tessera_core.records.files import digest_json
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt

UPSTREAM: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "ingest": (),
        "quality": ("ingest",),
        "shuffle": ("ingest", "quality"),
        "pretrain": ("shuffle",),
        "evaluate": ("ingest", "pretrain"),
        "register": ("pretrain", "evaluate"),
        "export": ("ingest", "register"),
    }
)
"""What each stage must stand on. Stated here too: an audit does not ask what it audits."""

CHAMPION_STAGES: Final = ("pretrain", "evaluate")


def verify_chain(
    start: str, paths: Paths, *, require_sources: bool, data: Sequence[Path] = ()
) -> AuditReport:
    """Verify all that a receipt stands on, down to the scenes.

    Every receipt is found by its digest and must hash to it; every output and every file of
    every manifest is hashed, each file once. A receipt that is the workspace's current one must
    match the workspace; the content of an earlier one may also be in the lineage, in DVC's
    cache, or under another name.

    Args:
        start: Digest of the receipt to start from, usually export's.
        paths: Workspace and root.
        require_sources: Block when a source scene is gone or changed, instead of a note.
        data: Folders to look in last for sources from outside the checkout.
    """
    return walk_chain(start, paths, require_sources=require_sources, data=data)[0]


def walk_chain(
    start: str,
    paths: Paths,
    *,
    require_sources: bool = False,
    wanted: Wanted | None = None,
    data: Sequence[Path] = (),
) -> tuple[AuditReport, Chain]:
    """Verify as ``verify_chain`` does, and return what was found for each receipt, too.

    Args:
        start: Digest of the receipt to start from.
        paths: Workspace and root.
        require_sources: As in ``verify_chain``.
        wanted: Which of the files that manifests list are hashed. Receipts and manifests always
            are; scenes and label rasters only where all are wanted (None).
        data: As in ``verify_chain``.
    """
    with tqdm(desc="audit", unit="B", unit_scale=True, leave=False, disable=None) as bar:
        evidence = Evidence(paths, bar.update, data)
        current, findings = _read_current(evidence, paths)
        receipts, faults = _walk(start, current, evidence, paths)
        findings += faults
        findings += check_signatures(receipts, evidence, paths)
        findings += check_overrides(receipts, evidence, paths)
        verified: dict[str, Verified] = {}
        # What the workspace holds is read first: earlier runs may share content with it.
        for digest in sorted(receipts, key=lambda digest: digest not in current.values()):
            is_current = digest == current.get(receipts[digest].stage)
            each, faults = verify_outputs(
                digest, receipts[digest], is_current, evidence, paths, wanted
            )
            findings += concerning(digest, faults)
            if wanted is None:
                faults = verify_sources(each, evidence, require_sources=require_sources)
                findings += concerning(sources_of(digest), faults)
            verified[digest] = each
        if wanted is None:
            findings += check_comparisons(receipts, evidence, paths)
    chain = Chain(start=start, receipts=verified)
    findings += check_chain(chain)
    findings += check_stamps(verified, evidence, paths)
    # Before the rest of the lineage is looked at, which grows by every run.
    num_files, num_bytes = evidence.num_files, evidence.num_bytes
    if wanted is None:
        findings += _check_strangers(evidence, paths)
    report = AuditReport(
        start=start,
        subject=dict(receipts[start].facts) if start in receipts else {},
        findings=in_order(findings),
        steps=_steps(verified),
        num_files=num_files,
        num_bytes=num_bytes,
    )
    return report, chain


def _read_current(evidence: Evidence, paths: Paths) -> tuple[dict[str, str], list[Finding]]:
    """Return the digest of each stage's current receipt; each must be in the lineage."""
    current: dict[str, str] = {}
    findings: list[Finding] = []
    if not any(paths.receipt(stage).is_file() for stage in UPSTREAM):
        return current, findings  # nothing ran here: only the lineage is asked
    for stage in UPSTREAM:
        path = paths.receipt(stage)
        found = evidence.digest(path)
        if found is None:
            findings.append(
                Finding(
                    grade=Grade.WARN,
                    artefact=path.relative_to(paths.workspace).as_posix(),
                    problem="the stage's current receipt is gone; the lineage speaks for it",
                    next_step=f"run `tessera {stage}` to write it again",
                )
            )
            continue
        if _is_of_another(path, stage):
            findings.append(_broken(evidence.name(path), f"it is no receipt of {stage}"))
        current[stage] = found.sha256
        if not (paths.lineage / f"{found.sha256}.json").is_file():
            findings.append(
                Finding(
                    grade=Grade.BLOCK,
                    artefact=evidence.name(path),
                    problem="is not the receipt that was written: data/lineage has none with "
                    f"its digest {found.sha256[:12]}",
                    next_step=f"`dvc checkout` brings it back, `tessera {stage}` makes it "
                    f"again; or {RESTORE_LINEAGE}",
                    concerns=(found.sha256,),
                )
            )
    return current, findings


def _is_of_another(path: Path, stage: str) -> bool:
    """Return whether a file holds the receipt of another stage; what is none is found later."""
    try:
        return Receipt.read(path).stage != stage
    except RecordError:
        return False


def _walk(
    start: str, current: Mapping[str, str], evidence: Evidence, paths: Paths
) -> tuple[dict[str, Receipt], list[Finding]]:
    """Return all receipts that can be reached, by digest."""
    receipts: dict[str, Receipt] = {}
    findings: list[Finding] = []
    waiting: list[tuple[str, str | None]] = [(start, None)]
    while waiting:
        digest, stage = waiting.pop(0)
        if digest not in receipts:
            receipt, faults = _read(digest, stage, current, evidence, paths)
            findings += concerning(digest, faults)
            if receipt is None:
                continue
            receipts[digest] = receipt
            links, faults = _links(digest, receipt)
            findings += concerning(digest, faults)
            waiting += links
        if stage is not None and receipts[digest].stage != stage:
            findings.append(
                _broken(
                    f"{stage} receipt {digest[:12]}",
                    f"it is a receipt of {receipts[digest].stage}, named where one of {stage} "
                    "is due",
                    digest,
                )
            )
    return receipts, findings


def _read(
    digest: str, stage: str | None, current: Mapping[str, str], evidence: Evidence, paths: Paths
) -> tuple[Receipt | None, list[Finding]]:
    """Return the receipt with this digest, from the lineage or, to go on, from the workspace."""
    path = paths.lineage / f"{digest}.json"
    findings = []
    if not evidence.holds(path, digest):
        is_missing = evidence.digest(path) is None
        holders = [name for name, held in current.items() if held == digest]
        # A current receipt that is not in the lineage was reported by its own name.
        if not (is_missing and holders):
            state = "is missing" if is_missing else "was changed: it does not hash to its name"
            findings.append(_broken(evidence.name(path), f"the {stage or 'first'} receipt {state}"))
        if not holders:
            return None, findings
        path = paths.receipt(holders[0])
    try:
        return Receipt.read(path), findings
    except RecordError as error:
        return None, [*findings, _broken(evidence.name(path), str(error))]


def _links(digest: str, receipt: Receipt) -> tuple[list[tuple[str, str]], list[Finding]]:
    """Return the receipts that one stands on, and which it should but does not name."""
    links = [(earlier, stage) for stage, earlier in sorted(receipt.upstream.items())]
    missing = [name for name in UPSTREAM.get(receipt.stage, ()) if name not in receipt.upstream]
    if receipt.stage == "register":
        champion = champion_receipts(receipt)
        links += [(champion[name], name) for name in CHAMPION_STAGES if name in champion]
        if has_champion(receipt):
            missing += [
                f"the champion's {name}" for name in CHAMPION_STAGES if name not in champion
            ]
    label = f"{receipt.stage} receipt {digest[:12]}"
    return links, [_broken(label, f"it names no receipt of {name}") for name in missing]


def _broken(artefact: str, problem: str, *concerns: str) -> Finding:
    return Finding(
        grade=Grade.BLOCK,
        artefact=artefact,
        problem=problem,
        next_step=RESTORE_LINEAGE,
        concerns=concerns,
    )


def _check_strangers(evidence: Evidence, paths: Paths) -> list[Finding]:
    """Warn of records in the lineage that do not hash to their name, whosever they are.

    One of this chain was named before, as what it is.
    """
    return [
        Finding(
            grade=Grade.WARN,
            artefact=evidence.name(path),
            problem="does not hash to its name, so nobody wrote it here",
            next_step=RESTORE_LINEAGE,
        )
        for path in sorted(paths.lineage.glob("*.json"))
        if not evidence.has_read(path) and not evidence.holds(path, path.stem)
    ]


def _verdict(receipt: Receipt) -> str:
    """Return what the gate of a stage said, as far as the stage is one."""
    if receipt.stage == "register":
        return str((receipt.facts.get("decision") or {}).get("alias", ""))
    return str(receipt.facts.get("verdict", ""))


def _steps(verified: Mapping[str, Verified]) -> tuple[Step, ...]:
    """Return one step per receipt, in the order of the stages."""
    order = list(UPSTREAM)
    steps = [
        Step(
            stage=each.receipt.stage,
            digest=each.digest,
            is_current=each.is_current,
            config_digest=digest_json(dict(each.receipt.config)),
            commit=each.receipt.code.commit,
            is_dirty=each.receipt.code.dirty,
            environment=each.receipt.environment,
            upstream=dict(each.receipt.upstream),
            champion=dict(champion_receipts(each.receipt)),
            num_sources=len(each.receipt.sources),
            num_files=len(each.files),
            num_bytes=each.num_bytes,
            counts={
                name: value
                for name, value in sorted(each.receipt.facts.items())
                if name.startswith("num_") and isinstance(value, int)
            },
            verdict=_verdict(each.receipt),
        )
        for each in verified.values()
    ]
    known = {stage: number for number, stage in enumerate(order)}
    return tuple(sorted(steps, key=lambda step: (known.get(step.stage, len(order)), step.digest)))
