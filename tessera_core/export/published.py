"""What was published before: the same champion, samples, settings and code embed nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tessera_core.errors import RecordError
from tessera_core.records.code import closure_digest
from tessera_core.records.files import digest_file
from tessera_core.records.lineage import receipts_of
from tessera_core.records.manifest import MANIFEST_NAME, Manifest, find_differences
from tessera_core.records.receipt import Receipt
from tessera_core.records.sharing import share_outputs

if TYPE_CHECKING:
    from pathlib import Path

    from tessera_core.config import PlatformConfig
    from tessera_core.records.paths import Paths

STAGE: Final = "tessera_core.export.stage"


def take_published(name: str, config: PlatformConfig, paths: Paths) -> Manifest | None:
    """Return the manifest of a published export that this run would make again, byte for byte.

    A later registration may keep the champion; then all that differs is which receipt says so. An
    export in another workspace of the checkout is shared. What no receipt of the present code
    vouches for is made again and compared.

    Args:
        name: Of the export.
        config: All settings.
        paths: Where samples are, and where the export belongs.
    """
    holders = [place for place in _places(paths) if (place / "data" / "exports" / name).is_dir()]
    vouched = _vouched(name, config, paths) if holders else set()
    for place in holders:
        folder = place / "data" / "exports" / name
        if _is_sound(folder, vouched):
            return Manifest.read(_brought(folder, place, paths))
        if place == paths.workspace:
            return None  # damaged, or of other code: to be compared with what is made now
    return None


def _places(paths: Paths) -> list[Path]:
    """Return all workspaces of the checkout, this one first."""
    return list(dict.fromkeys([paths.workspace, *paths.workspaces()]))


def _vouched(name: str, config: PlatformConfig, paths: Paths) -> set[str]:
    """Return the manifests, by sha256, that receipts of equal inputs and code name."""
    ingest = paths.receipt("ingest")
    if not ingest.is_file():
        return set()
    standing_on, code = Receipt.read(ingest).digest, closure_digest(STAGE)
    return {
        output.sha256
        for receipt in receipts_of("export", paths.lineage).values()
        if receipt.facts.get("export") == name
        and receipt.code.closure == code
        and receipt.config == {"export": config.section("export")}
        and receipt.upstream.get("ingest") == standing_on
        for output in receipt.outputs
    }


def _is_sound(folder: Path, vouched: set[str]) -> bool:
    """Return whether a folder is what a receipt says, to the byte."""
    try:
        manifest = digest_file(folder / MANIFEST_NAME, folder)
        return manifest.sha256 in vouched and not find_differences(folder, Manifest.read(folder))
    except RecordError:
        return False


def _brought(folder: Path, place: Path, paths: Paths) -> Path:
    """Share an export of another workspace with this one; return where it is now."""
    if place == paths.workspace:
        return folder
    share_outputs([digest_file(folder / MANIFEST_NAME, place)], place, paths.workspace)
    return paths.exports / folder.name
