"""The lineage: every receipt and manifest ever written, and what stands on what. The one reader.

A file counts only where its content hashes to its name; whoever needs one that does not is told.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tessera_core.errors import RecordError
from tessera_core.records.files import FileDigest, parse_json
from tessera_core.records.form import require_facts, require_upstream
from tessera_core.records.manifest import Manifest
from tessera_core.records.receipt import Receipt

NEEDED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"pretrain": ("model_digest",), "export": ("export", "num_tiles")}
)
"""Stage -> facts without which nobody can tell what a receipt speaks of."""

LINKED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({"export": ("ingest",)})
"""Stage -> receipts that it stands on, whoever trained its model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """The intact records of a lineage folder; those of the largest may have 10^4."""

    receipts: Mapping[str, Receipt]
    """Digest -> receipt."""

    manifests: Mapping[str, Manifest]
    """sha256 of the file -> manifest."""

    num_records: int
    """Files read."""

    changed: tuple[str, ...]
    """Names of files that do not hash to their name, or hold what no record can; left out here, and
    an audit blocks on them."""

    def of_stage(self, stage: str) -> dict[str, Receipt]:
        """Return the receipts of one stage by digest."""
        return {d: each for d, each in self.receipts.items() if each.stage == stage}

    def outputs(self, receipt: Receipt) -> list[tuple[str, Manifest]]:
        """Return the manifests among a receipt's outputs, each with the path of its folder."""
        return [
            (output.path.rpartition("/")[0], self.manifests[output.sha256])
            for output in receipt.outputs
            if output.sha256 in self.manifests
        ]

    def files(self, receipt: Receipt) -> Iterator[tuple[FileDigest, str]]:
        """Yield every file that a receipt names, itself or by a manifest, with its whole path."""
        yield from ((output, output.path) for output in receipt.outputs)
        for folder, manifest in self.outputs(receipt):
            yield from ((entry, f"{folder}/{entry.path}") for entry in manifest.files)

    def chain(self, digest: str) -> dict[str, Receipt]:
        """Return a receipt and all that it stands on, by stage, as far as they are there."""
        chain: dict[str, Receipt] = {}
        waiting = [digest]
        while waiting:
            receipt = self.receipts.get(waiting.pop())
            if receipt is not None and receipt.stage not in chain:
                chain[receipt.stage] = receipt
                waiting += receipt.upstream.values()
        return chain

    def behind(self, start: Iterable[str]) -> set[str]:
        """Return the digests of all receipts that these stand on, themselves included.

        A register receipt stands also on the receipts of the champion it kept.
        """

        def earlier(digest: str) -> Iterable[str]:
            receipt = self.receipts.get(digest)
            if receipt is None:
                return ()
            return (*receipt.upstream.values(), *_champion(receipt).values())

        first = set(start)
        return {d for d in first | _reach(first, earlier) if d in self.receipts}

    def standing_on(self, start: Iterable[str]) -> set[str]:
        """Return the digests of receipts that name one of these upstream, however far."""
        children = defaultdict(list)
        for digest, receipt in self.receipts.items():
            for earlier in receipt.upstream.values():
                children[earlier].append(digest)
        return _reach(start, lambda digest: children[digest])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A file of the lineage as it is."""

    path: Path
    """Where it lies; its name is the digest that it should have."""

    content: bytes
    """What it holds."""

    @property
    def is_intact(self) -> bool:
        """Whether its content hashes to its name; if not, it is nobody's word."""
        return hashlib.sha256(self.content).hexdigest() == self.path.stem


def read_lineage(folder: Path) -> Lineage:
    """Read and verify every record of a lineage folder; what is neither kind is left out."""
    receipts: dict[str, Receipt] = {}
    manifests: dict[str, Manifest] = {}
    changed, number = [], 0
    for path in sorted(folder.glob("*.json")):
        number += 1
        stored = Stored(path=path, content=path.read_bytes()) if path.is_file() else None
        if stored is None or not stored.is_intact:
            changed.append(path.name)
            continue
        try:
            record = parse_json(stored.content, path)
            if not isinstance(record, dict):
                continue  # a training's history
            if {"stage", "upstream", "outputs"} <= record.keys():
                receipt = Receipt.from_dict(record, path)
                require_facts(receipt.facts, NEEDED.get(receipt.stage, ()), path)
                require_upstream(receipt.upstream, LINKED.get(receipt.stage, ()), path)
                receipts[path.stem] = receipt
            elif {"kind", "files", "facts"} <= record.keys():
                manifests[path.stem] = Manifest.from_dict(record, path)
        except RecordError:
            changed.append(path.name)
    return Lineage(
        receipts=receipts, manifests=manifests, num_records=number, changed=tuple(changed)
    )


def stored_files(folder: Path, mark: bytes = b"") -> Iterator[Stored]:
    """Yield the files of a lineage folder whose content contains a mark, intact or not."""
    for path in sorted(folder.glob("*.json")):
        if not path.is_file():
            continue  # an audit names it as a stranger in the lineage
        content = path.read_bytes()
        if mark in content:
            yield Stored(path=path, content=content)


def receipts_of(stage: str, folder: Path) -> dict[str, Receipt]:
    """Return the intact receipts of a stage by digest; far faster than to read the whole lineage.

    In the order of their digests. What is no receipt is left out, and an audit blocks on it.
    """
    found = {}
    for stored in stored_files(folder, f'"stage":"{stage}"'.encode()):
        if not stored.is_intact:
            continue
        try:
            receipt = Receipt.from_dict(parse_json(stored.content, stored.path), stored.path)
        except RecordError:
            continue
        if receipt.stage == stage:
            found[stored.path.stem] = receipt
    return found


def read_receipt(digest: str, folder: Path) -> Receipt:
    """Return the receipt with a digest.

    Raises:
        RecordError: The lineage has none, or what it has does not hash to its name.
    """
    path = folder / f"{digest}.json"
    if not path.is_file():
        raise RecordError(
            f"data/lineage has lost receipt {digest[:12]}; restore it from a backup or another "
            "clone and run `tessera audit`"
        )
    return Receipt.from_dict(parse_json(read_intact(path), path), path)


def read_intact(path: Path) -> bytes:
    """Return what a file of the lineage holds.

    Raises:
        RecordError: It does not hash to its name.
    """
    stored = Stored(path=path, content=path.read_bytes())
    if not stored.is_intact:
        raise RecordError(
            f"{path} was changed: it does not hash to its name, so nothing can rest on it; "
            "restore data/lineage from a backup and run `tessera audit`"
        )
    return stored.content


def _champion(receipt: Receipt) -> Mapping[str, str]:
    found: Mapping[str, str] = receipt.facts.get("champion_receipts") or {}
    return found if receipt.stage == "register" else {}


def _reach(start: Iterable[str], steps: Callable[[str], Iterable[str]]) -> set[str]:
    """Return all that can be reached from some digests by one step or more."""
    reached: set[str] = set()
    waiting = list(start)
    while waiting:
        for following in steps(waiting.pop()):
            if following not in reached:
                reached.add(following)
                waiting.append(following)
    return reached
