"""What DVC's lock and pointer files say of outputs: pointers, checked against the evidence."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tessera_core.audit.evidence import Evidence
from tessera_core.audit.report import Finding, Grade
from tessera_core.errors import ConfigError, RecordError
from tessera_core.records.dvc import folder_address
from tessera_core.records.files import digest_file, read_json
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.paths import Paths
from tessera_core.records.typed import read_yaml

LOCK_NAME: Final = "dvc.lock"


def check_locks(evidence: Evidence, paths: Paths) -> Iterator[Finding]:
    """Warn of a md5 that belongs to nothing that was ever made here.

    One that is older than the workspace is none of these: DVC stores outputs after they are made.
    A warning, for a fresh clone that runs everything anew looks the same. Folders without a
    manifest of their own (training figures, all exports) cannot be checked by receipts.
    """
    for lock in _lock_files(paths):
        try:
            outs = list(_outs(read_yaml(lock, "`git checkout` brings it back"), lock.parent))
        except (ConfigError, KeyError, TypeError, AttributeError) as error:
            yield _warn(evidence.name(lock), f"it cannot be read: {error}")
            continue
        for place, md5 in outs:
            current = _address(place, evidence)
            if current in (None, md5) or (paths.dvc_cache / md5[:2] / md5[2:]).is_file():
                continue
            if md5 not in _addresses(paths.lineage):
                name = evidence.name(place)
                yield _warn(evidence.name(lock), f"the md5 {md5[:12]} of {name} is of nothing here")


def _lock_files(paths: Paths) -> list[Path]:
    if paths.workspace == paths.root:
        return [path for path in (paths.root / LOCK_NAME,) if path.is_file()]
    return sorted(paths.data.glob("*.dvc"))


def _outs(content: dict[str, Any], folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the place and md5 of every output in a lock or a pointer file."""
    for stage in content.get("stages", {"": content}).values():
        for out in stage.get("outs", ()):
            yield folder / out["path"], str(out["md5"])


def _address(place: Path, evidence: Evidence) -> str | None:
    """Return DVC's md5 of what lies at a place, None where receipts do not tell of it."""
    path = place / MANIFEST_NAME if place.is_dir() else place
    found = evidence.digest(path)
    if found is None or path == place:
        return None if found is None else found.md5
    return _folder_address(path, found.md5)


def _addresses(lineage: Path) -> set[str]:
    """Return the md5 of every receipt and every artifact folder that the lineage knows."""
    known = set()
    for path in lineage.glob("*.json"):
        md5 = digest_file(path, lineage).md5
        known |= {md5, _folder_address(path, md5) or md5}
    return known


def _folder_address(path: Path, md5: str) -> str | None:
    try:
        return folder_address(Manifest.from_dict(read_json(path), path), md5)
    except RecordError:
        return None


def _warn(artefact: str, problem: str) -> Finding:
    return Finding(
        grade=Grade.WARN,
        artefact=artefact,
        problem=problem,
        next_step="`git checkout` brings the file back; `tessera retrain` writes it for what is "
        "here now",
    )
