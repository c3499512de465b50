"""What is in a checkout, sorted into what may go and what must stay."""

import fcntl
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tessera_core.errors import InputError
from tessera_core.records.files import digest_file
from tessera_core.records.lineage import Lineage, read_lineage
from tessera_core.records.paths import Paths

RELEASES = ("register", "export", "audit")
"""Stages whose receipts are versions and exports; what is behind them must stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A folder or file."""

    path: str
    """Relative to the checkout."""

    size: int
    """Bytes."""

    reason: str
    """Why it may go, or must stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The checkout, sorted."""

    prunable: tuple[Item, ...]
    """No audit of a version or export needs them."""

    staying: tuple[Item, ...]
    """Needed, with the receipt that names them."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """What the sorting looks at."""

    paths: Paths
    """Where everything is."""

    lineage: Lineage
    """All receipts and manifests."""

    released: frozenset[str]
    """Receipts behind any version or export."""

    @property
    def sources(self) -> set[str]:
        """Return the files that receipts name as sources, relative to the checkout."""
        receipts = self.lineage.receipts.values()
        return {source.path for receipt in receipts for source in receipt.sources}

    def item(self, path: Path, reason: str) -> Item:
        """Return a folder or file with its size."""
        name = path.relative_to(self.paths.root).as_posix()
        return Item(path=name, size=size_of(path), reason=reason)


def look_at(paths: Paths) -> Checkout:
    """Read the lineage.

    Raises:
        InputError: A record was changed or the lineage is empty: then nobody can tell what is
            needed, and nothing may go.
    """
    lineage = read_lineage(paths.lineage)
    if lineage.changed or not lineage.receipts:
        raise InputError(
            f"{paths.lineage} does not tell what is needed: "
            + (
                f"{lineage.changed[0]} was changed; run `tessera audit`"
                if lineage.changed
                else "it holds no receipt; run `tessera retrain`, or restore it"
            )
        )
    starts = [d for d, receipt in lineage.receipts.items() if receipt.stage in RELEASES]
    return Checkout(paths=paths, lineage=lineage, released=frozenset(lineage.behind(starts)))


def size_of(path: Path) -> int:
    """Return the bytes of a file or of all files below a folder."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.lstat().st_size for file in files if file.is_file())


def is_held(lock: Path) -> bool:
    """Return whether another process holds a lock file; False when there is none."""
    if not lock.is_file():
        return False
    with lock.open("r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def staying(checkout: Checkout) -> Iterator[Item]:
    """Yield what audits and later runs need, and who needs it."""
    paths, lineage = checkout.paths, checkout.lineage
    for workspace in paths.workspaces():
        for receipt_file in sorted((workspace / "data" / "receipts").glob("*.json")):
            digest = digest_file(receipt_file, workspace).sha256
            receipt = lineage.receipts.get(digest)
            for output in () if receipt is None else receipt.outputs:
                place = workspace / output.path
                place = place.parent if place.name == "manifest.json" else place
                if place.exists():
                    yield checkout.item(place, f"named by {_label(checkout, digest)}")
    for digest, receipt in lineage.of_stage("export").items():
        folder = paths.root / receipt.outputs[0].path.rpartition("/")[0]
        if folder.is_dir():
            yield checkout.item(folder, f"published: named by {_label(checkout, digest)}")
    yield checkout.item(paths.lineage, "every receipt, manifest and stamp; it only grows")
    for name in sorted({"/".join(path.split("/")[:2]) for path in checkout.sources}):
        if name.startswith("data/") and (paths.root / name).exists():
            yield checkout.item(paths.root / name, "holds sources that receipts name")


def _label(checkout: Checkout, digest: str) -> str:
    """Return what a receipt is and which releases stand on it."""
    receipt = checkout.lineage.receipts[digest]
    label = f"{receipt.stage} receipt {digest[:12]}"
    return f"{label}, behind a version or export" if digest in checkout.released else label
