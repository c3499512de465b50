"""What a source stands for besides itself: the files of an artifact, the state of a checkpoint."""

from pathlib import Path, PurePosixPath
from typing import Final

from tessera_core.errors import RecordError
from tessera_core.records.files import FileDigest, read_json
from tessera_core.records.manifest import MANIFEST_NAME, Manifest

CLAIM_GLOB: Final = "step-*.json"
"""Says what the checkpoint of the same name holds."""


def companions(name: str, place: Path) -> list[FileDigest]:
    """Return the files that a source vouches for, named beside it; none for most.

    Args:
        name: As receipts have it.
        place: Where it lies; its content was verified.

    Raises:
        RecordError: It is a manifest or a checkpoint's claim, and says nothing that can be read.
    """
    path = PurePosixPath(name)
    if path.name == MANIFEST_NAME:
        return listed(name, Manifest.from_dict(read_json(place), place))
    if path.match(CLAIM_GLOB):
        claim = read_json(place)
        try:
            state = FileDigest(
                path=path.with_suffix(".pt").as_posix(), sha256=str(claim["sha256"]),
                md5="", size=int(claim["size"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"{place} does not say what its checkpoint holds") from error
        return [state]
    return []


def listed(manifest_path: str, manifest: Manifest) -> list[FileDigest]:
    """Return a manifest's files with paths relative to what the manifest's is relative to."""
    folder = PurePosixPath(manifest_path).parent
    return [
        FileDigest(
            path=(folder / file.path).as_posix(), sha256=file.sha256, md5=file.md5, size=file.size
        )
        for file in manifest.files
    ]
