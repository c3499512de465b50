"""Which files of a cycle an audit must read; the others stand here with the reason why not."""

import fnmatch
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tessera_core.lineage.audit.chain import verify_chain
from tessera_core.lineage.audit.report import Finding
from tessera_core.records.files import digest_file
from tessera_core.records.paths import Paths

NO_EVIDENCE: Final[Mapping[str, str]] = {
    "data/README.md": "a page of the repository; git has it",
    "data/.*.lock": "empty files that processes hold while they work",
    "data/*/.*.lock": "the same, beside what they guard",
    "data/cache/*": "copies of what manifests list; verified when read, made again when deleted",
    "data/baselines/*": "answers of baselines, a cache: each file begins with its own digest, is "
    "verified when read and fitted again when damaged; the scores that came of it are evidence",
    "data/checkpoints/*": "states to go on from; each is verified when read, and what came of "
    "them is in the model; those that a run went on from are its sources",
    "data/audit/*": "what audits say; the next audit says it anew",
    "data/runs/*": "workspaces of other runs: the same kinds of files, which theirs name",
    "data/benchmarks/*": "definitions; those of the tasks that were scored are sources",
    "data/scenes/catalog.json": "catalogues grow as scenes arrive; each item and file that was "
    "read is a source of its own",
    "data/scenes/sentinel-*/collection.json": "the same",
}
"""Pattern below the checkout -> why no audit of the checkout's own export reads it."""

APART: Final[Mapping[str, str]] = {
    "data/lineage/*": "a changed record breaks the chain at its own name: the mutations go "
    "through each kind alone",
    "data/receipts/*": "the same",
    "data/attestations/*": "the same",
    "*/manifest.json": "a changed manifest lists nothing: changed alone in the mutations",
}
"""Evidence that cannot be changed together with the rest, for it leads to the rest."""


def matches(name: str, patterns: Mapping[str, str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def evidence(world: Paths) -> list[Path]:
    """Return the files that an audit must read, but for those that lead to others."""
    files = sorted(path for path in (world.root / "data").rglob("*") if path.is_file())
    names = {path: path.relative_to(world.root).as_posix() for path in files}
    return [
        path
        for path, name in names.items()
        if path.stat().st_size and not matches(name, NO_EVIDENCE) and not matches(name, APART)
    ]


def of_the_challenger(world: Paths) -> tuple[Finding, ...]:
    """Return what the audit of the other version finds: it was compared, the first one was not."""
    (register,) = world.root.glob("data/runs/*/data/receipts/register.json")
    paths = Paths(root=world.root, workspace=register.parents[2])
    start = digest_file(register, world.root).sha256
    return verify_chain(start, paths, require_sources=True).findings
