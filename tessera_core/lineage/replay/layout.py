"""Lay out what a stage reads in a clean folder, every file found by its content."""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol

import yaml

from tessera_core.config import PARAMS_NAME
from tessera_core.errors import RecordError
from tessera_core.lineage.audit.evidence import Evidence
from tessera_core.records.companions import companions, listed
from tessera_core.records.files import (
    FileDigest,
    digest_file,
    read_json,
    write_atomically,
    write_json,
)
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.outside import ADDRESS, find_place
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt
from tessera_core.records.sharing import link_or_copy

MAX_NAMED: Final = 3
ITEM: Final = "item"
"""How a STAC catalogue calls its links to scenes."""


class Fetch(Protocol):
    """How contents come back from a remote."""

    def __call__(self, files: Sequence[FileDigest]) -> None:
        """Bring contents into DVC's cache, as far as the remote has them."""


def fetch_nothing(files: Sequence[FileDigest]) -> None:
    """Leave it at what this machine holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Files that receipts name, wherever their content lies now."""

    paths: Paths
    """The checkout."""

    evidence: Evidence
    """What was read; each file once."""

    fetch: Fetch
    """Asked for what the checkout has lost."""

    asked: set[str] = field(default_factory=set)
    """What was asked for already; a remote that does not have it is not asked again."""

    def outputs(self, receipt: Receipt) -> dict[str, Path]:
        """Return where the contents of all outputs lie, by path relative to a workspace.

        Raises:
            RecordError: Some are nowhere.
        """
        found = self._all_found(receipt.outputs, self.paths.workspace)
        inner: list[FileDigest] = []
        for output in receipt.outputs:
            if PurePosixPath(output.path).name == MANIFEST_NAME:
                inner += listed(output.path, _manifest(found[output.path]))
        return {**found, **self._all_found(inner, self.paths.workspace)}

    def sources(self, receipt: Receipt) -> dict[str, Path]:
        """Return where a receipt's local sources lie, by path relative to a root.

        Raises:
            RecordError: Some are gone, or were changed.
        """
        local = [source for source in receipt.sources if ADDRESS not in source.path]
        found = self._all_found(local)
        for path, place in list(found.items()):
            found |= self._all_found(companions(path, place))
        return found

    def _all_found(self, files: Iterable[FileDigest], base: Path | None = None) -> dict[str, Path]:
        """Return where outputs lie, named from their workspace; without one, where sources do."""

        def find(file: FileDigest) -> Path | None:
            place = self.evidence.place_of(file) if base is None else base / file.path
            return self.evidence.find(file, place)

        found = {file: find(file) for file in files}
        lost = [file for file, place in found.items() if place is None]
        if ask := [file for file in lost if file.sha256 not in self.asked]:
            self.asked.update(file.sha256 for file in ask)
            self.fetch([file for file in ask if file.md5])
            found |= {file: find(file) for file in ask}
            lost = [file for file in lost if found[file] is None]
        if lost:
            names = ", ".join(file.path for file in lost[:MAX_NAMED])
            raise RecordError(
                f"the recorded content of {len(lost)} file(s), as {names}, is in no workspace and "
                "not in DVC's cache or remote; bring it back, then replay again"
            )
        return {file.path: place for file, place in found.items() if place is not None}


def make_root(folder: Path, receipts: Iterable[Receipt]) -> Path:
    """Return a new, empty root so deep in ``folder`` that sources outside it stay within."""
    ups = [
        PurePosixPath(source.path).parts.count("..")
        for receipt in receipts
        for source in receipt.sources
        if ADDRESS not in source.path
    ]
    root = folder.joinpath(*["outside"] * max(ups, default=0), "checkout")
    root.mkdir(parents=True)
    return root


def lay_sources(contents: Contents, receipt: Receipt, paths: Paths, folder: Path) -> None:
    """Give a stage its sources, under the names that its receipt has for them.

    Raises:
        RecordError: A source is gone, its path leaves ``folder``, or it is to be read at a fixed
            place and lies elsewhere now.
    """
    for name, found in contents.sources(receipt).items():
        if PurePosixPath(name).is_absolute():
            _require_at(Path(name), found, contents.evidence)
            continue
        target = Path(os.path.normpath(paths.root / name))
        if not target.is_relative_to(folder):
            raise RecordError(
                f"source {name!r} of the {receipt.stage} receipt lies outside every folder that a "
                "replay may write to; read it from a place below the checkout's parents"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            link_or_copy(found, target)


def _require_at(place: Path, found: Path, evidence: Evidence) -> None:
    """Refuse a source that a stage reads at a fixed place and that is not there as it was."""
    content = evidence.digest(found)
    if content is None or not evidence.holds(place, content.sha256):
        raise RecordError(
            f"the settings read {place} there and nowhere else, and it is not what it was; its "
            f"content lies in {found}: bring it back, then replay again"
        )


def lay_descriptions(contents: Contents, receipt: Receipt, paths: Paths) -> list[str]:
    """Copy the catalogues that lead to a stage's sources and that its receipt does not list.

    A catalogue grows after a run; links to items that the run did not see are left out.

    Returns:
        Their paths relative to the root: read without a recorded digest.
    """
    own = {source.path for source in receipt.sources}
    above = {
        folder for path in own if ADDRESS not in path for folder in PurePosixPath(path).parents
    }
    laid = []
    # Where settings name a fixed place, the stage reads there; nothing of ours is to be written.
    relative = {folder for folder in above if not folder.is_absolute()}
    for folder in sorted(folder for folder in relative if set(folder.parts) - {".."}):
        here = find_place(folder.as_posix(), contents.paths.root)
        for place in sorted(here.glob("*.json")):
            name = (folder / place.name).as_posix()
            document = _catalogue(place)
            if name in own or document is None:
                continue
            document["links"] = [
                link
                for link in document["links"]
                if link.get("rel") != ITEM
                or PurePosixPath(os.path.normpath(folder / str(link.get("href")))).as_posix() in own
            ]
            target = Path(os.path.normpath(paths.root / name))
            write_json(target, document)
            laid.append(name)
    return laid


def lay_outputs(contents: Contents, receipt: Receipt, paths: Paths) -> None:
    """Put a receipt and its recorded outputs where the next stage expects them.

    Copied, not linked: whatever code runs next must not reach into the originals.

    Raises:
        RecordError: Some content is nowhere.
    """
    found = contents.outputs(receipt)
    for name, place in found.items():
        target = _inside(paths.workspace, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(place, target)
    lay_receipt(receipt, paths)


def move_outputs(receipt: Receipt, workspace: Path, target: Path) -> None:
    """Move what a receipt lists to another workspace; a manifest stands for its folder."""
    for output in receipt.outputs:
        place = workspace / output.path
        moved = place.parent if place.name == MANIFEST_NAME else place
        if moved.exists():
            destination = target / moved.relative_to(workspace)
            destination.parent.mkdir(parents=True, exist_ok=True)
            moved.rename(destination)


def lay_receipt(receipt: Receipt, paths: Paths) -> None:
    """Make a recorded receipt the workspace's current one."""
    write_atomically(paths.receipt(receipt.stage), receipt.to_bytes())


def holds_receipt(receipt: Receipt, paths: Paths) -> bool:
    """Return whether a receipt is the workspace's current one of its stage."""
    path = paths.receipt(receipt.stage)
    return path.is_file() and path.read_bytes() == receipt.to_bytes()


def write_params(receipt: Receipt, others: Iterable[Receipt], code: Path, paths: Paths) -> None:
    """Write the settings that a stage ran with, as the restored code takes them.

    What no receipt records has no say in the stage and comes from the code's own
    ``params.yaml``. A stage may look into the section of another, as pretraining into that of
    ingest; there, settings that the code does not know are left out.
    """
    values: dict[str, Any] = yaml.safe_load((code / PARAMS_NAME).read_text(encoding="utf-8"))
    for other in others:
        for section, recorded in other.config.items():
            known: Mapping[str, Any] = values.get(section, {})
            values[section] = {**known, **{k: v for k, v in recorded.items() if k in known}}
    values |= receipt.config
    text = yaml.safe_dump(values, sort_keys=True)
    write_atomically(paths.root / PARAMS_NAME, text.encode())


def _catalogue(place: Path) -> dict[str, Any] | None:
    """Return a STAC catalogue or collection; None for any other file."""
    try:
        document = read_json(place)
    except RecordError:
        return None
    is_stac = isinstance(document, dict) and isinstance(document.get("links"), list)
    return document if is_stac else None


def _inside(folder: Path, name: str) -> Path:
    target = Path(os.path.normpath(folder / name))
    if not target.is_relative_to(folder):
        raise RecordError(f"output {name!r} points outside its workspace")
    return target


def _manifest(place: Path) -> Manifest:
    return Manifest.from_dict(read_json(place), place)


def made_files(receipt: Receipt, workspace: Path) -> dict[str, FileDigest]:
    """Return all files of a replayed receipt, those that its manifests list included, by path."""
    made = {output.path: digest_file(workspace / output.path, workspace)
            for output in receipt.outputs}  # fmt: skip
    for path in list(made):
        if PurePosixPath(path).name == MANIFEST_NAME:
            made |= {file.path: file for file in listed(path, _manifest(workspace / path))}
    return made
