"""The lineage as a whole: every receipt and manifest ever written, and what stands on what."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tessera_core.errors import RecordError
from tessera_core.records.files import parse_json
from tessera_core.records.form import require_facts, require_upstream
from tessera_core.records.manifest import Manifest
from tessera_core.records.receipt import Receipt

NEEDED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"pretrain": ("model_digest",), "export": ("export", "num_tiles")}
)
"""Stage -> facts without which nobody can tell what a receipt speaks of."""

LINKED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({"export": ("ingest",)})
"""Stage -> receipts that it stands on, whoever trained its model."""

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """All records of a lineage folder as parsed JSON; those of the largest may have 10^4."""

    receipts: Mapping[str, Record]
    """Digest -> receipt."""

    manifests: Mapping[str, Record]
    """sha256 of the file -> manifest."""

    num_records: int
    """Files read."""

    changed: tuple[str, ...]
    """Names of files that do not hash to their name, or hold what no record can; left out here, and
    an audit blocks on them."""

    def of_stage(self, stage: str) -> dict[str, Record]:
        """Return the receipts of one stage by digest."""
        return {d: each for d, each in self.receipts.items() if each["stage"] == stage}

    def outputs(self, receipt: Record) -> list[tuple[str, Record]]:
        """Return the manifests among a receipt's outputs, each with the path of its folder."""
        return [
            (output["path"].rpartition("/")[0], self.manifests[output["sha256"]])
            for output in receipt["outputs"]
            if output["sha256"] in self.manifests
        ]

    def standing_on(self, start: Iterable[str]) -> set[str]:
        """Return the digests of receipts that name one of these upstream, however far."""
        children = defaultdict(list)
        for digest, receipt in self.receipts.items():
            for earlier in receipt["upstream"].values():
                children[earlier].append(digest)
        return _reach(start, lambda digest: children[digest])

    def behind(self, start: Iterable[str]) -> set[str]:
        """Return the digests of all receipts that these stand on, themselves included.

        A register receipt stands also on the receipts of the champion it kept.
        """

        def earlier(digest: str) -> Iterable[str]:
            receipt = self.receipts.get(digest)
            if receipt is None:
                return ()
            return (*receipt["upstream"].values(), *_champion(receipt).values())

        first = set(start)
        return {d for d in first | _reach(first, earlier) if d in self.receipts}


def read_lineage(folder: Path) -> Lineage:
    """Read and verify every record of a lineage folder; what is neither kind is left out."""
    receipts: dict[str, Record] = {}
    manifests: dict[str, Record] = {}
    changed, number = [], 0
    for path in sorted(folder.glob("*.json")):
        number += 1
        if not path.is_file():
            changed.append(path.name)
            continue
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != path.stem:
            changed.append(path.name)
            continue
        try:
            record = parse_json(content, path)
            if not isinstance(record, dict):
                continue  # a training's history
            if {"stage", "upstream", "outputs"} <= record.keys():
                receipt = Receipt.from_dict(record, path)
                require_facts(receipt.facts, NEEDED.get(receipt.stage, ()), path)
                require_upstream(receipt.upstream, LINKED.get(receipt.stage, ()), path)
                receipts[path.stem] = record
            elif {"kind", "files", "facts"} <= record.keys():
                Manifest.from_dict(record, path)
                manifests[path.stem] = record
        except RecordError:
            changed.append(path.name)
    return Lineage(
        receipts=receipts, manifests=manifests, num_records=number, changed=tuple(changed)
    )


def marked_files(lineage: Path, mark: bytes) -> Iterator[tuple[Path, bytes]]:
    """Yield files of the lineage that contain a mark, with their content, intact or not."""
    for path in sorted(lineage.glob("*.json")):
        if not path.is_file():
            continue  # told as a stranger in the lineage
        content = path.read_bytes()
        if mark in content:
            yield path, content


def intact_files(lineage: Path, mark: bytes) -> Iterator[tuple[Path, bytes]]:
    """Yield the marked files that hash to their name; one that does not is nobody's word."""
    for path, content in marked_files(lineage, mark):
        if hashlib.sha256(content).hexdigest() == path.stem:
            yield path, content


def _champion(receipt: Record) -> Mapping[str, str]:
    found: Mapping[str, str] = receipt["facts"].get("champion_receipts") or {}
    return found if receipt["stage"] == "register" else {}


def _reach(start: Iterable[str], steps: Any) -> set[str]:
    """Return all that can be reached from some digests by one step or more."""
    reached: set[str] = set()
    waiting = list(start)
    while waiting:
        for following in steps(waiting.pop()):
            if following not in reached:
                reached.add(following)
                waiting.append(following)
    return reached
