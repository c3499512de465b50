"""Whose embeddings a folder holds: one model's, and never another's beside them.

Vectors of two versions look alike and mean different things; a map made of both is wrong
everywhere and fails nowhere. So a folder that ``tessera embed`` writes to says which model it is
of, and a published export takes nothing more at all.
"""

import json
import uuid
from pathlib import Path
from typing import Any, Final

from tessera_core.errors import RecordError
from tessera_core.export.tiles import EXPORT_KIND
from tessera_core.records.files import read_json, storage_errors
from tessera_core.records.manifest import MANIFEST_NAME
from tessera_core.records.sharing import UNLINKABLE

CLAIM_NAME: Final = "model.json"
SCALES_PATTERN: Final = "*_scales.npy"
NEXT: Final = (
    "Name another folder; to use both versions together, compare them first (their bridge says "
    "whether one can be mapped into the other's space)"
)


def require_unmixed(out: Path, digest: str) -> None:
    """Refuse a folder that holds embeddings of another model.

    Args:
        out: Folder that embeddings are to be written to; it may be missing.
        digest: Digest of the model; empty for one that was never written, which no folder knows.

    Raises:
        RecordError: The folder is that of another model, holds embeddings whose model is not
            known, or is part of a published export.
    """
    for folder in (out.resolve(), *out.resolve().parents):
        if _is_export(folder / MANIFEST_NAME):
            raise RecordError(
                f"{out} is part of the published export {folder}, which never changes; name a "
                "folder outside it"
            )
    path = out / CLAIM_NAME
    if path.is_file():
        found = _claimed(path)
        if found != digest:
            raise RecordError(
                f"{out} is for embeddings of model {found[:12]}, as its {CLAIM_NAME} says, not of "
                f"{digest[:12] or 'a model without digest'}: those of two models do not mix. {NEXT}"
            )
    elif digest and (tiles := sorted(out.glob(SCALES_PATTERN))):
        raise RecordError(
            f"{out} holds embeddings ({tiles[0].name}) but no {CLAIM_NAME}, so nothing says that "
            f"they are of model {digest[:12]}: embeddings of two models do not mix. {NEXT}"
        )


def claim(out: Path, digest: str) -> None:
    """Mark a folder as one model's before the first embedding goes there.

    Of two processes that come first at once, one gets the folder and the other is refused, unless
    both are of the same model. A model that was never written claims nothing.

    Args:
        out: Folder that exists.
        digest: Digest of the model.

    Raises:
        RecordError: As ``require_unmixed`` does.
        StorageError: The folder cannot be written.
    """
    require_unmixed(out, digest)
    if not digest:
        return
    path = out / CLAIM_NAME
    # A finished file is given its name, so that nobody reads half of one; a second name cannot
    # be given, which decides who was first.
    building = path.with_name(f".{CLAIM_NAME}.{uuid.uuid4().hex[:8]}.part")
    content = json.dumps({"model_digest": digest}, indent=1) + "\n"
    with storage_errors(path):
        try:
            building.write_text(content, encoding="utf-8")
            path.hardlink_to(building)
        except FileExistsError:
            require_unmixed(out, digest)
        except OSError as error:
            if error.errno not in UNLINKABLE:
                raise
            building.replace(path)
        finally:
            building.unlink(missing_ok=True)


def _is_export(path: Path) -> bool:
    """Return whether a file is the manifest of an export; other programs' manifests are not."""
    if not path.is_file():
        return False
    try:
        stored: Any = read_json(path)
    except RecordError:
        return False
    return isinstance(stored, dict) and stored.get("kind") == EXPORT_KIND


def _claimed(path: Path) -> str:
    """Return the digest that a folder's claim names."""
    stored: Any = read_json(path)
    digest = stored.get("model_digest") if isinstance(stored, dict) else None
    if not isinstance(digest, str) or not digest:
        raise RecordError(
            f"{path} names no model digest, so nothing says whose embeddings lie beside it. {NEXT}"
        )
    return digest
