"""Manifests: the files of one artifact, written last."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Self

from tessera_core.errors import RecordError
from tessera_core.records.files import (
    FileDigest,
    digest_file,
    digest_json,
    digest_tree,
    read_json,
    write_json,
)
from tessera_core.records.form import MANIFEST, check_form, check_plain

MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The content of one artifact folder."""

    kind: str
    """What the folder is: samples, shards, model, evaluation, export ..."""

    files: tuple[FileDigest, ...]
    """Every file but the manifest itself, in path order."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    """What a reader wants to know before opening a file; plain JSON values."""

    def __post_init__(self) -> None:
        """Refuse paths that leave the folder."""
        for file in self.files:
            path = PurePosixPath(file.path)
            if path.is_absolute() or ".." in path.parts:
                raise RecordError(f"manifest entry {file.path!r} points outside its folder")

    @property
    def digest(self) -> str:
        """Identity of the artifact: sha256 over kind, files and facts."""
        return digest_json(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "kind": self.kind,
            "files": [file.to_dict() for file in self.files],
            "facts": dict(self.facts),
        }

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read ``folder/manifest.json``; raises RecordError when absent or malformed."""
        return cls.from_dict(read_json(folder / MANIFEST_NAME), folder / MANIFEST_NAME)

    @classmethod
    def from_dict(cls, stored: Any, where: Path) -> Self:
        """Build from parsed JSON; ``where`` names the source in errors."""
        check_plain(stored, f"{where} is not a manifest")
        check_form(stored, MANIFEST, f"{where} is not a manifest")
        try:
            files = tuple(FileDigest(**entry) for entry in stored["files"])
            return cls(kind=stored["kind"], files=files, facts=stored["facts"])
        except (KeyError, TypeError) as error:
            raise RecordError(f"{where} is not a manifest: {error}") from error


def write_manifest(folder: Path, kind: str, facts: Mapping[str, Any]) -> Manifest:
    """Digest every file in ``folder`` and write its manifest; call it last."""
    entries = tuple(file for file in digest_tree(folder, folder) if file.path != MANIFEST_NAME)
    manifest = Manifest(kind=kind, files=entries, facts=facts)
    write_json(folder / MANIFEST_NAME, manifest.to_dict())
    return manifest


def find_differences(folder: Path, manifest: Manifest) -> list[str]:
    """Return one line for each file that is missing, changed or not listed."""
    findings = []
    for entry in manifest.files:
        path = folder / entry.path
        if not path.is_file():
            findings.append(f"{path}: missing")
        elif digest_file(path, folder).sha256 != entry.sha256:
            findings.append(f"{path}: content differs from its manifest")
    listed = {entry.path for entry in manifest.files} | {MANIFEST_NAME}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in listed:
            findings.append(f"{path}: not in the manifest")
    return findings
