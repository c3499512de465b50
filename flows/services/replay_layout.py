"""Lay out what receipts name in a folder, so that what reported a run once can do it again."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from flows.context import Context
from flows.services.models import is_intact
from flows.services.registry_history import History
from tessera_core.config import PlatformConfig
from tessera_core.errors import ConfigError
from tessera_core.lineage.audit.evidence import Evidence
from tessera_core.records.files import FileDigest, read_json
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.paths import Paths
from tessera_core.records.sharing import link_or_copy


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a rebuilding did, for people; it grows meanwhile."""

    restored: list[str] = field(default_factory=list)
    """One line per thing that was missing and is there again."""

    notes: list[str] = field(default_factory=list)
    """What could not be restored as it was, and why."""

    intact: list[str] = field(default_factory=list)
    """What was there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What every step of a rebuilding needs."""

    context: Context
    """The checkout, and where MLflow is."""

    history: History
    """The receipts."""

    evidence: Evidence
    """Finds content by digest."""

    report: Rebuilt
    """What was done so far."""

    def manifest(self, output: FileDigest) -> Manifest | None:
        """Return the manifest that a receipt names, or None where its content is gone."""
        found = self.evidence.find(output, self.context.paths.root / output.path)
        return None if found is None else Manifest.from_dict(read_json(found), found)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaidOut:
    """A run's receipts and what is left of their content."""

    context: Context
    """In a workspace of its own; with the settings of the run, if they are known."""

    has_settings: bool
    """False when the settings are of a release that had others."""


@contextmanager
def laid_out(digest: str, work: Work) -> Iterator[LaidOut]:
    """Yield a context in which a receipt is the current one of its stage.

    All receipts before it and the manifests of all are there, and the files of its own outputs;
    content that was pruned is not.
    """
    with tempfile.TemporaryDirectory(prefix="tessera-rebuild-") as scratch:
        paths = Paths(root=work.context.paths.root, workspace=Path(scratch))
        chain = work.history.lineage.chain(digest)
        for stage, receipt in chain.items():
            _link(work.context.paths.lineage / f"{receipt.digest}.json", paths.receipt(stage))
            for output in receipt.outputs:
                _lay(output, work, paths, with_files=receipt.digest == digest)
        config, has_settings = work.context.config, True
        try:
            config = _with_sections(config, work.history.settings(digest), digest)
        except ConfigError:
            has_settings = False
        context = replace(work.context, config=config, paths=paths, lenders=())
        yield LaidOut(context=context, has_settings=has_settings)


def model_folder(laid: LaidOut, work: Work, model_digest: str) -> Path | None:
    """Return a folder that holds a model, every byte of it; None where none is left."""
    root = work.context.paths.root
    candidates = [
        laid.context.paths.model,
        work.context.paths.model_cache / model_digest,
        *sorted(root.glob("data/imported/*")),
        *sorted(root.glob("data/registration/champion")),
        *sorted(root.glob("data/runs/*/data/registration/champion")),
        # A database can be lost without the artifacts that it knew.
        *sorted(root.glob(".mlflow/artifacts/models/*/artifacts/artifacts/*")),
    ]
    return next((folder for folder in candidates if is_intact(folder, model_digest)), None)


def _lay(output: FileDigest, work: Work, paths: Paths, *, with_files: bool) -> None:
    """Link an output, and the files of its manifest if wanted."""
    root = work.context.paths.root
    found = work.evidence.find(output, root / output.path)
    if found is None:
        return
    place = paths.workspace / output.path
    _link(found, place)
    if not with_files or place.name != MANIFEST_NAME:
        return
    for entry in Manifest.from_dict(read_json(found), found).files:
        path = (Path(output.path).parent / entry.path).as_posix()
        file = work.evidence.find(replace(entry, path=path), root / path)
        if file is not None:
            _link(file, paths.workspace / path)


def _link(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    # MLflow refuses symbolic links that leave the folder it is given.
    link_or_copy(source, place)


def _with_sections(
    config: PlatformConfig, sections: Mapping[str, object], digest: str
) -> PlatformConfig:
    return PlatformConfig.from_dict({**config.to_dict(), **sections}, f"receipt {digest[:12]}")
