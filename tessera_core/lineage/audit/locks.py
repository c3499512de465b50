"""What DVC's lock and pointer files say of artifacts, compared with the receipts.

They may be of an earlier run than the workspace is, but each must agree with some run's receipts.
What no receipt tells of (training figures, the folder of all exports) cannot be compared.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from tessera_core.errors import RecordError
from tessera_core.lineage.audit.chain import UPSTREAM
from tessera_core.lineage.audit.outputs import RESTORE_LINEAGE
from tessera_core.lineage.audit.pointers import edited
from tessera_core.lineage.audit.report import Finding, Grade
from tessera_core.records.dvc import folder_address
from tessera_core.records.files import read_json
from tessera_core.records.lineage import receipts_of
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.receipt import Receipt

LOCK_NAME: Final = "dvc.lock"
PARAMS_NAME: Final = "params.yaml"
RESTORE_LOCK: Final = "bring it back by `git checkout` or from a backup; find out who changed it"


def check_lock(name: str, lock: Mapping[str, Any], lineage: Path) -> list[Finding]:
    """Return what DVC's lock file says differently than the receipts that it names.

    Args:
        name: How findings call the file.
        lock: The file, parsed.
        lineage: Folder of all receipts.
    """
    findings: list[Finding] = []
    for stage, entry in sorted(lock["stages"].items()):
        outs = _md5s(entry.get("outs"))
        own = _receipt_path(stage)
        if own not in outs:
            continue
        receipts = {
            _md5_of(lineage / f"{digest}.json"): (digest, receipt)
            for digest, receipt in receipts_of(stage, lineage).items()
        }
        if outs[own] not in receipts:
            findings.append(
                Finding(
                    grade=Grade.BLOCK,
                    artefact=f"{name}, {stage}, {own}",
                    problem=f"it names a receipt with md5 {outs[own]}, and data/lineage has none",
                    next_step=f"{RESTORE_LOCK}; else {RESTORE_LINEAGE}",
                )
            )
            continue
        digest, receipt = receipts[outs[own]]
        expected = expected_md5s(digest, receipt, lineage)
        for earlier, upstream in receipt.upstream.items():
            if (found := receipts_of(earlier, lineage).get(upstream)) is not None:
                expected |= expected_md5s(upstream, found, lineage)
        stated = outs | _md5s(entry.get("deps"))
        findings += [
            edited(f"{name}, {stage}, {path}", stated[path], {expected[path]}, RESTORE_LOCK)
            for path in sorted(stated.keys() & expected.keys())
            if stated[path] != expected[path]
        ]
        params = (entry.get("params") or {}).get(PARAMS_NAME) or {}
        findings += _check_params(name, stage, params, receipt)
    return findings


def _check_params(
    name: str, stage: str, params: Mapping[str, Any], receipt: Receipt
) -> list[Finding]:
    """Return the settings that are not those of the receipt."""
    return [
        edited(
            f"{name}, {stage}, {PARAMS_NAME} {section}.{key}", params[section].get(key),
            [value], RESTORE_LOCK,
        )
        for section in sorted(params.keys() & receipt.config.keys())
        for key, value in sorted(receipt.config[section].items())
        if params[section].get(key) != value
    ]  # fmt: skip


def check_pointer_file(
    name: str, content: Mapping[str, Any], made: Mapping[str, set[str]]
) -> list[Finding]:
    """Return which md5s of a ``.dvc`` file are of nothing that was ever made at their place.

    Args:
        name: How findings call the file; it lies in its workspace's ``data``.
        content: The file, parsed.
        made: What ``made_at`` found.
    """
    return [
        edited(f"{name}, data/{path}", md5, made[f"data/{path}"], RESTORE_LOCK)
        for path, md5 in _md5s(content.get("outs")).items()
        if f"data/{path}" in made and md5 not in made[f"data/{path}"]
    ]


def unreadable(name: str, why: str) -> Finding:
    """Return the finding that a lock or pointer file is not one of DVC."""
    return Finding(
        grade=Grade.BLOCK, artefact=name, problem=f"it cannot be read: {why}",
        next_step=RESTORE_LOCK,
    )  # fmt: skip


def made_at(lineage: Path) -> dict[str, set[str]]:
    """Return place in a workspace -> every md5 of DVC that was ever made there."""
    made: dict[str, set[str]] = {}
    for stage in UPSTREAM:
        for digest, receipt in receipts_of(stage, lineage).items():
            for place, md5 in expected_md5s(digest, receipt, lineage).items():
                made.setdefault(place, set()).add(md5)
    return made


def expected_md5s(digest: str, receipt: Receipt, lineage: Path) -> dict[str, str]:
    """Return DVC's md5 of a stage's receipt and of the artifact folders that it made, by path."""
    md5s = {_receipt_path(receipt.stage): _md5_of(lineage / f"{digest}.json")}
    for output in receipt.outputs:
        path = PurePosixPath(output.path)
        if path.name != MANIFEST_NAME:
            continue  # what else lies in its folder is in no receipt
        archived = lineage / f"{output.sha256}.json"
        try:
            manifest = Manifest.from_dict(read_json(archived), archived)
        except RecordError:
            continue  # reported where the chain is walked
        md5s[path.parent.as_posix()] = folder_address(manifest, output.md5)
    return md5s


def _md5s(entries: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    return {str(entry["path"]): str(entry.get("md5")) for entry in entries or ()}


def _md5_of(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _receipt_path(stage: str) -> str:
    return f"data/receipts/{stage}.json"
