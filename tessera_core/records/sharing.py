"""One workspace takes over what another has made: the same bytes under a second name.

Hard links cost no space and no time. They are safe because nothing writes into a finished file:
every writer builds beside its target and moves the result in, which gives the one workspace new
files and leaves the other its old ones.
"""

import errno
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tessera_core.errors import RecordError
from tessera_core.records.files import FileDigest, atomic_file, atomic_folder, storage_errors
from tessera_core.records.manifest import MANIFEST_NAME, Manifest

UNLINKABLE: Final = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP})
"""Another device, a file system without hard links, too many of them: then copy."""


def share_outputs(outputs: Iterable[FileDigest], lender: Path, borrower: Path) -> None:
    """Put a stage's outputs into another workspace, folder by folder, replacing what is there.

    Bytes are not compared here: a receipt does that, for whoever relies on it. What no receipt
    lists, such as a figure beside a history, stays behind.

    Args:
        outputs: What the receipt lists: manifests, which stand for their folder, and single files.
        lender: Workspace that has the outputs.
        borrower: Workspace that gets them.

    Raises:
        RecordError: The lender does not have all of them.
        StorageError: The borrower cannot be written.
    """
    for output in outputs:
        source, target = lender / output.path, borrower / output.path
        if source.name == MANIFEST_NAME:
            share_folder(source.parent, target.parent)
            continue
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(target) as place:
            link_or_copy(source, place)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where that cannot be."""
    try:
        target.hardlink_to(source)
    except FileNotFoundError as error:
        raise RecordError(f"{source} is missing") from error
    except OSError as error:
        if error.errno not in UNLINKABLE:
            raise
        shutil.copyfile(source, target)


def share_folder(source: Path, target: Path) -> None:
    """Share the files that a folder's manifest lists, and the manifest."""
    names = [file.path for file in Manifest.read(source).files]
    with atomic_folder(target) as folder:
        for name in (*names, MANIFEST_NAME):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(source / name, folder / name)
