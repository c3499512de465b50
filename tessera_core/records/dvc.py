"""DVC's addresses of what we wrote, without DVC."""

import hashlib
import json

from tessera_core.records.manifest import MANIFEST_NAME, Manifest


def folder_address(manifest: Manifest, own_md5: str) -> str:
    """Return DVC's md5 of an artifact folder, from its manifest alone.

    Args:
        manifest: What the folder holds.
        own_md5: Of the manifest's own file.
    """
    files = {entry.path: entry.md5 for entry in manifest.files} | {MANIFEST_NAME: own_md5}
    listing = json.dumps(
        [{"md5": files[path], "relpath": path} for path in sorted(files)], sort_keys=True
    )
    return f"{hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest()}.dir"
