"""Verify the files of one receipt: its outputs, what their manifests list, and its sources."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tessera_core.errors import RecordError
from tessera_core.lineage.audit.evidence import Evidence
from tessera_core.lineage.audit.report import Finding, Grade
from tessera_core.records.companions import companions, listed
from tessera_core.records.files import FileDigest, indented_json, read_json
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.outside import ADDRESS, is_outside
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt

RESTORE_LINEAGE: Final = (
    "restore data/lineage from a backup or another clone; it is small and only ever grows"
)

Wanted = Callable[[str, str], bool]
"""Whether a listed file is to be hashed: digest of the receipt, path relative to the workspace."""

PUBLISHED: Final = "export"
"""The stage whose outputs never change and stay where they are, whatever runs later."""

REGISTRATION: Final = "data/registration/registration.json"
CARD: Final = "data/registration/card.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A receipt of the chain with everything that was found for it."""

    digest: str
    """Digest of the receipt."""

    receipt: Receipt
    """The receipt."""

    is_current: bool
    """True when it is the workspace's current receipt of its stage, False for an earlier run."""

    manifests: Mapping[str, Manifest]
    """Its manifests by path relative to the workspace, as far as they were found."""

    files: Mapping[str, Path]
    """Where its files were found, by path relative to the workspace."""

    num_bytes: int
    """Bytes of those files."""


def verify_outputs(
    digest: str,
    receipt: Receipt,
    is_current: bool,
    evidence: Evidence,
    paths: Paths,
    wanted: Wanted | None,
) -> tuple[Verified, list[Finding]]:
    """Find every output of a receipt and every file that its manifests list.

    A current receipt promises what is in the workspace now. A receipt of an earlier run only
    promises that its content can still be brought back, but for what was published.

    Args:
        digest: Digest of the receipt.
        receipt: It.
        is_current: Whether it is the workspace's current one of its stage.
        evidence: What was read.
        paths: Workspace and root.
        wanted: Which listed files to look at; all when None.
    """
    in_place = is_current or receipt.stage == PUBLISHED
    findings: list[Finding] = []
    manifests: dict[str, Manifest] = {}
    files: dict[str, Path] = {}
    sizes: dict[str, int] = {}
    seen: set[FileDigest] = set()
    waiting = [(output, f"the {receipt.stage} receipt") for output in receipt.outputs]
    while waiting:
        entry, witness = waiting.pop(0)
        if entry in seen:
            # A model inside a registration is listed by its own manifest and the outer one.
            continue
        seen.add(entry)
        place = paths.workspace / entry.path
        if not in_place and entry.path in (REGISTRATION, CARD):
            findings += _check_old_record(entry, receipt, place, evidence)
            continue
        found, problems = _locate(entry, place, witness, receipt.stage, in_place, evidence)
        findings += problems
        if found is None:
            continue
        files[entry.path], sizes[entry.path] = found, entry.size
        if place.name == MANIFEST_NAME:
            try:
                manifest = Manifest.from_dict(read_json(found), found)
            except RecordError as error:
                findings.append(_block(evidence.name(found), str(error), RESTORE_LINEAGE))
                continue
            manifests[entry.path] = manifest
            waiting += [
                (each, entry.path)
                for each in listed(entry.path, manifest)
                if _is_wanted(digest, each.path, wanted)
            ]
            if in_place and wanted is None:
                findings += _strays(place.parent, manifest, evidence)
    findings += _check_archive(receipt, evidence, paths)
    verified = Verified(
        digest=digest,
        receipt=receipt,
        is_current=is_current,
        manifests=manifests,
        files=files,
        num_bytes=sum(sizes.values()),
    )
    return verified, findings


def verify_sources(
    verified: Verified, evidence: Evidence, *, require_sources: bool
) -> list[Finding]:
    """Check the files from outside the chain, and what they vouch for: an artifact's files.

    Args:
        verified: A receipt of the chain.
        evidence: What was read.
        require_sources: Block on a source that is gone or changed, instead of a note.
    """
    grade = Grade.BLOCK if require_sources else Grade.NOTE
    findings, num_remote = [], 0
    waiting = [(source, False) for source in verified.receipt.sources]
    while waiting:
        source, is_fixed = waiting.pop(0)
        if ADDRESS in source.path:
            num_remote += 1
            continue
        place, problem = _source(source, verified, evidence, is_fixed=is_fixed)
        if place is not None:
            is_here = place == evidence.place_of(source)
            try:
                waiting += [(each, is_here) for each in companions(source.path, place)]
            except RecordError as error:
                problem = str(error)
        if problem:
            findings.append(
                Finding(
                    grade=grade,
                    artefact=source.path,
                    problem=problem,
                    next_step="bring the original back, or run again with what is there now",
                )
            )
    if num_remote:
        findings.append(
            Finding(
                grade=Grade.NOTE,
                artefact=f"sources of {verified.receipt.stage}",
                problem=f"{num_remote} remote items are identified by their description; their "
                "pixels were not read again",
                next_step="mirror the scenes and ingest them from a folder to audit them too",
            )
        )
    return findings


def _source(
    source: FileDigest, verified: Verified, evidence: Evidence, *, is_fixed: bool
) -> tuple[Path | None, str]:
    """Return where the content of a source is, or what is wrong with it.

    Args:
        source: As the receipt names it, or a file that such a source vouches for.
        verified: The receipt.
        evidence: What was read.
        is_fixed: Whether what vouches for it lies beside it, as it was.
    """
    place = evidence.place_of(source)
    if evidence.holds(place, source.sha256):
        return place, ""
    is_there = evidence.digest(place) is not None
    # A later run may have made scenes of the checkout anew. Nothing of ours writes elsewhere, and
    # a file that its own manifest denies was not made anew: no copy excuses those.
    may_differ = not (is_there and (is_outside(source.path) or is_fixed))
    found = evidence.find(source, place) if may_differ and not verified.is_current else None
    if found is not None:
        return found, ""
    where = f" (looked at {place})" if is_outside(source.path) else ""
    state = "was changed" if is_there else "is missing"
    return None, f"this source {state} since it was read{where}"


def _locate(
    entry: FileDigest,
    place: Path,
    witness: str,
    stage: str,
    in_place: bool,
    evidence: Evidence,
) -> tuple[Path | None, list[Finding]]:
    """Return where an output is, and what is wrong with it."""
    name = evidence.name(place)
    if not in_place:
        found = evidence.find(entry, place)
        problem = (
            f"the content that {witness} of an earlier run names is in no workspace, not in "
            "data/lineage and not in DVC's cache"
        )
        fetch = (
            "`dvc push` where it was made, or `dvc fetch --all-commits` here, brings earlier "
            "content back from the remote"
        )
        return found, [] if found else [_block(name, problem, fetch)]
    if evidence.holds(place, entry.sha256):
        return place, []
    state = "is missing" if evidence.digest(place) is None else "differs"
    remedy = (
        "restore it from a copy, or move the folder away and run `tessera export` again"
        if stage == "export"
        else f"`dvc checkout` brings it back, `tessera {stage}` makes it again"
    )
    finding = _block(name, f"{state}, but {witness} names sha256 {entry.sha256[:12]}", remedy)
    # The rest of the chain can still be verified with the archived or cached content.
    return evidence.find(entry, place), [finding]


def _is_wanted(digest: str, path: str, wanted: Wanted | None) -> bool:
    return wanted is None or path.endswith(f"/{MANIFEST_NAME}") or wanted(digest, path)


def _check_old_record(
    entry: FileDigest, receipt: Receipt, place: Path, evidence: Evidence
) -> list[Finding]:
    """Verify the registration of an earlier run, whose place the next one takes.

    The receipt holds all that the record said, so its bytes can be written again. The card says
    the same to people, and is not kept.
    """
    if entry.path == CARD:
        return []
    record = {name: value for name, value in receipt.facts.items() if name != "champion_receipts"}
    content = indented_json(record)
    if hashlib.sha256(content).hexdigest() == entry.sha256 or evidence.find(entry, place):
        return []
    problem = "an earlier registration is not what its receipt says it was"
    return [_block(evidence.name(place), problem, RESTORE_LINEAGE)]


def _strays(folder: Path, manifest: Manifest, evidence: Evidence) -> list[Finding]:
    """Return one finding per file that lies in an artifact but belongs to nothing."""
    known = {entry.path for entry in manifest.files} | {MANIFEST_NAME}
    return [
        Finding(
            grade=Grade.WARN,
            artefact=evidence.name(path),
            problem="lies in this folder, but its manifest does not list it",
            next_step="remove it: nobody vouches for it",
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).as_posix() not in known
    ]


def _check_archive(receipt: Receipt, evidence: Evidence, paths: Paths) -> list[Finding]:
    """Check that the lineage keeps every manifest for the day when the workspace moves on."""
    findings = []
    for output in receipt.outputs:
        archived = paths.lineage / f"{output.sha256}.json"
        if not output.path.endswith(".json") or evidence.holds(archived, output.sha256):
            continue
        is_missing = evidence.digest(archived) is None
        findings.append(
            Finding(
                grade=Grade.WARN if is_missing else Grade.BLOCK,
                artefact=evidence.name(archived),
                problem=f"the archived copy of {output.path} "
                f"{'is missing' if is_missing else 'was changed'}",
                next_step=RESTORE_LINEAGE,
            )
        )
    versions = paths.lineage / f"{receipt.environment}.json"
    # Lineages of before these were kept have none.
    if evidence.digest(versions) and not evidence.holds(versions, receipt.environment):
        findings.append(
            _block(
                evidence.name(versions), "the list of package versions was changed",
                RESTORE_LINEAGE,
            )
        )  # fmt: skip
    return findings


def _block(artefact: str, problem: str, next_step: str) -> Finding:
    return Finding(grade=Grade.BLOCK, artefact=artefact, problem=problem, next_step=next_step)
