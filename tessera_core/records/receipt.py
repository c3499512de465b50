"""Receipts: what one stage run consumed and produced, chained by digest.

A receipt holds no time and no host name, so the same run gives the same bytes anywhere.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tessera_core.errors import RecordError
from tessera_core.records.code import CodeVersion, environment_versions
from tessera_core.records.files import (
    FileDigest,
    canonical_json,
    digest_json,
    read_json,
    write_atomically,
)
from tessera_core.records.form import RECEIPT, check_facts, check_form, check_plain

RECEIPT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One stage run."""

    stage: str
    """Stage name, as in ``STAGES``."""

    config: Mapping[str, Any]
    """The settings the stage read, resolved."""

    sources: tuple[FileDigest, ...]
    """Files from outside the chain: scenes, label rasters; paths relative to the root."""

    upstream: Mapping[str, str]
    """Earlier stage -> digest of its receipt."""

    outputs: tuple[FileDigest, ...]
    """Manifests and single files produced; paths relative to the workspace."""

    code: CodeVersion
    """Which code ran."""

    environment: str
    """sha256 over Python version and the versions of all direct dependencies."""

    facts: Mapping[str, Any]
    """Counts, seeds, verdicts; plain JSON values."""

    @property
    def digest(self) -> str:
        """Identity of the receipt: sha256 of its bytes."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def reuse_key(self) -> str:
        """Digest of everything that decides the outputs before the stage runs.

        The commit and the environment are recorded but do not force a rerun: the import
        closure says whether the stage's own code changed.
        """
        return reuse_key(self.stage, self.config, self.sources, self.upstream, self.code.closure)

    def to_bytes(self) -> bytes:
        """Return the canonical bytes that are stored and hashed."""
        return canonical_json(
            {
                "version": RECEIPT_VERSION,
                "stage": self.stage,
                "config": dict(self.config),
                "sources": [source.to_dict() for source in self.sources],
                "upstream": dict(self.upstream),
                "outputs": [output.to_dict() for output in self.outputs],
                "code": self.code.to_dict(),
                "environment": self.environment,
                "facts": dict(self.facts),
            }
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a receipt; raises RecordError when absent, malformed or of another version."""
        return cls.from_dict(read_json(path), path)

    @classmethod
    def from_dict(cls, stored: Any, where: Path) -> Self:
        """Build from parsed JSON; ``where`` names the source in errors."""
        check_plain(stored, f"{where} is not a receipt")
        check_form(stored, {"version!": int, **RECEIPT}, f"{where} is not a receipt")
        if stored["version"] != RECEIPT_VERSION:
            raise RecordError(
                f"{where} is a receipt of version {stored['version']}, "
                f"expected {RECEIPT_VERSION}; rerun the stage"
            )
        check_facts(stored["facts"], stored["stage"], f"{where} is not a receipt")
        try:
            return cls(
                stage=stored["stage"],
                config=stored["config"],
                sources=tuple(FileDigest(**entry) for entry in stored["sources"]),
                upstream=stored["upstream"],
                outputs=tuple(FileDigest(**entry) for entry in stored["outputs"]),
                code=CodeVersion(**stored["code"]),
                environment=stored["environment"],
                facts=stored["facts"],
            )
        except (KeyError, TypeError) as error:
            raise RecordError(f"{where} is not a receipt: {error}") from error


def reuse_key(
    stage: str,
    config: Mapping[str, Any],
    sources: tuple[FileDigest, ...],
    upstream: Mapping[str, str],
    closure: str,
) -> str:
    """Return the digest of all that goes into a stage run."""
    return digest_json(
        {
            "stage": stage,
            "config": dict(config),
            "sources": [source.to_dict() for source in sources],
            "upstream": dict(upstream),
            "closure": closure,
        }
    )


def write_receipt(receipt: Receipt, current: Path, lineage: Path) -> None:
    """Store a receipt in the append-only lineage, then as the stage's current one.

    The versions behind its environment digest are stored beside it, so that a later replay can
    name the package that changed.

    Args:
        receipt: What to store.
        current: The file that later stages and DVC read.
        lineage: Folder of all receipts ever written, each named by its digest.
    """
    content = receipt.to_bytes()
    archived = lineage / f"{receipt.digest}.json"
    if not archived.exists():
        write_atomically(archived, content)
    versions = environment_versions()
    environment = lineage / f"{receipt.environment}.json"
    if digest_json(versions) == receipt.environment and not environment.exists():
        write_atomically(environment, canonical_json(versions))
    if not current.is_file() or current.read_bytes() != content:
        write_atomically(current, content)


def read_versions(environment: str, lineage: Path) -> dict[str, str] | None:
    """Return package -> version behind an environment digest; None where the lineage has none."""
    try:
        versions = read_json(lineage / f"{environment}.json")
    except RecordError:
        return None
    return versions if digest_json(versions) == environment else None
