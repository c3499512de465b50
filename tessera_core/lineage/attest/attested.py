"""What is attested: a version or an export, with the receipts it stands on, from the lineage."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tessera_core.errors import InputError, RecordError, did_you_mean
from tessera_core.lineage.audit.checks import champion_receipts
from tessera_core.records.cycle import STAGES
from tessera_core.records.files import FileDigest, parse_json
from tessera_core.records.form import ANY, check_form, require_facts, require_upstream
from tessera_core.records.lineage import read_intact, read_receipt, stored_files
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt

ORDER: Final = tuple(name for name in STAGES if name != "audit")
"""Stages, first things first."""


NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "ingest": ("num_pixels", "tiles"),
    "shuffle": ("num_pixels",),
    "pretrain": ("model_digest", "num_parameters"),
    "evaluate": ("simulated", "headline"),
    "register": ("model_name",),
    "export": ("export", "model_name", "version"),
}
"""Stage -> facts that documents speak of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """A version or an export, and everything behind it that documents speak of."""

    name: str
    """``tessera-v2`` for a version, else the export's name; names files and folders."""

    model_name: str
    """Name in the registry."""

    version: str
    """Number of the version."""

    start: str
    """Digest of the receipt it was found by: register's of a version, else export's."""

    receipts: Mapping[str, Receipt]
    """Digest -> receipt, every one it stands on, first things first."""

    training: Mapping[str, str]
    """Stage -> digest of its receipt, on the way from scenes to the scored model."""

    registered: Receipt | None
    """The receipt that made it a version; None where the lineage knows it as champion only."""

    manifests: Mapping[str, Manifest]
    """``samples``, ``shards``, ``model`` and, of an export, ``export`` -> its manifest."""

    manifest_files: Mapping[str, FileDigest]
    """The same names -> the manifest file itself, as the stage's receipt lists it."""

    @property
    def is_export(self) -> bool:
        """True for an export, False for a version."""
        return "export" in self.manifests

    @property
    def model_digest(self) -> str:
        """Identity of the model artifact."""
        return self.manifests["model"].digest

    @property
    def commits(self) -> tuple[str, ...]:
        """All commits that made it."""
        return tuple(sorted({receipt.code.commit for receipt in self.receipts.values()}))

    @property
    def simulated(self) -> bool:
        """True where scenes were simulated."""
        return bool(self.stage("evaluate").facts["simulated"])

    def stage(self, name: str) -> Receipt:
        """Return the receipt of a stage on the way to the model, or of register or export."""
        if name in self.training:
            return self.receipts[self.training[name]]
        return next(each for each in self.receipts.values() if each.stage == name)


def find_attested(reference: str, paths: Paths) -> Attested:
    """Find a version or an export in the lineage; no registry and no database is asked.

    Args:
        reference: ``2`` or ``tessera/2`` for a version, else the name of an export.
        paths: Where the lineage is; the workspace's current receipts decide between equals.

    Raises:
        InputError: Nothing is called so, or two models have the number.
        RecordError: A receipt or manifest behind it is missing or was changed.
    """
    known = dict(_releases(paths.lineage))
    current = {
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in map(paths.receipt, ("register", "export"))
        if path.is_file()
    }
    # What the workspace holds first, then by digest: the same choice everywhere else.
    ordered = sorted(known, key=lambda digest: (digest not in current, digest))
    found = _find_export(reference, ordered, known) or _find_version(reference, ordered, known)
    if found is None:
        raise InputError(
            f"the lineage has no version and no export {reference}. "
            f"{did_you_mean(reference, _names(known))}"
        )
    start, record = found
    own = _find_version(f"{record['model_name']}/{record['version']}", ordered, known)
    registered = known[own[0]] if own and _is_candidate(known[own[0]], record["version"]) else None
    return _gather(start, record, registered, paths.lineage)


def _is_candidate(register: Receipt, version: str) -> bool:
    return bool((register.facts.get("candidate") or {}).get("version") == version)


def _releases(lineage: Path) -> Iterator[tuple[str, Receipt]]:
    """Yield all receipts of register and export, by digest."""
    for stored in stored_files(lineage):
        if not stored.is_intact:
            continue  # whoever stands on it is told when it is read
        record = parse_json(stored.content, stored.path)
        if isinstance(record, dict) and record.get("stage") in ("register", "export"):
            receipt = Receipt.from_dict(record, stored.path)
            _require_complete(receipt, stored.path)
            yield stored.path.stem, receipt


def _names(known: Mapping[str, Receipt]) -> set[str]:
    """Return what may be asked for."""
    names = set()
    for receipt in known.values():
        if receipt.stage == "export":
            names.add(str(receipt.facts["export"]))
        elif candidate := receipt.facts.get("candidate"):
            names.add(f"{receipt.facts['model_name']}/{candidate.get('version')}")
    return names


def _find_export(
    reference: str, ordered: list[str], known: Mapping[str, Receipt]
) -> tuple[str, dict[str, Any]] | None:
    """Return the export's receipt and which model it shows."""
    for digest in ordered:
        facts = known[digest].facts
        if known[digest].stage == "export" and facts["export"] == reference:
            register = known.get(known[digest].upstream["register"])
            if register is None:
                raise _lost("register", known[digest].upstream["register"])
            named = {"model_name": facts["model_name"], "version": facts["version"]}
            return digest, {**named, **champion_receipts(register)}
    return None


def _find_version(
    reference: str, ordered: list[str], known: Mapping[str, Receipt]
) -> tuple[str, dict[str, Any]] | None:
    """Return the receipt that registered a version, else one that names it as champion."""
    name, _, version = reference.rpartition("/")
    found = []
    for role in ("candidate", "champion"):
        for digest in ordered:
            facts = known[digest].facts
            record = facts.get(role) if known[digest].stage == "register" else None
            if record and record.get("version") == version and name in ("", facts["model_name"]):
                found.append((digest, {**record, "model_name": facts["model_name"]}))
    models = sorted({record["model_name"] for _, record in found})
    if len(models) > 1:
        choices = " or ".join(f"{model}/{version}" for model in models)
        raise InputError(f"version {version} is one of several models; name {choices}")
    return found[0] if found else None


def _gather(
    start: str, record: Mapping[str, Any], registered: Receipt | None, lineage: Path
) -> Attested:
    """Read every receipt and manifest behind a register or export receipt."""
    receipts = {start: _read(start, "", lineage)}
    require_facts(record, ("evaluate", "pretrain"), lineage / f"{start}.json")
    waiting = [(stage, record[stage]) for stage in ("evaluate", "pretrain")]
    training = dict(waiting)
    if receipts[start].stage == "export":
        # Its samples may be newer than those of the training.
        waiting += list(receipts[start].upstream.items())
    while waiting:
        stage, digest = waiting.pop()
        if digest in receipts and receipts[digest].stage == stage:
            continue
        receipts[digest] = _read(digest, stage, lineage)
        # Register stands on its candidate, which need not be the model that is attested.
        if stage != "register":
            waiting += list(receipts[digest].upstream.items())
    pretrain = receipts[training["pretrain"]]
    for earlier in (pretrain, receipts[pretrain.upstream["shuffle"]]):
        training.update(earlier.upstream)
    files = {
        kind: _manifest_file(receipts[training[stage]])
        for kind, stage in (("samples", "ingest"), ("shards", "shuffle"), ("model", "pretrain"))
    }
    name = f"{record['model_name']}-v{record['version']}"
    if receipts[start].stage == "export":
        files["export"] = _manifest_file(receipts[start])
        name = str(receipts[start].facts["export"])
    ordered = sorted(receipts, key=lambda digest: (ORDER.index(receipts[digest].stage), digest))
    return Attested(
        name=name,
        model_name=str(record["model_name"]),
        version=str(record["version"]),
        start=start,
        receipts={digest: receipts[digest] for digest in ordered},
        registered=registered,
        training={stage: training[stage] for stage in ORDER if stage in training},
        manifests={kind: _read_manifest(file, lineage) for kind, file in files.items()},
        manifest_files=files,
    )


def _read(digest: str, stage: str, lineage: Path) -> Receipt:
    """Return the receipt with this digest and, unless empty, of this stage."""
    path = lineage / f"{digest}.json"
    receipt = read_receipt(digest, lineage)
    if stage and receipt.stage != stage:
        raise RecordError(f"{path} is a receipt of {receipt.stage}, expected one of {stage}")
    _require_complete(receipt, path)
    return receipt


def _require_complete(receipt: Receipt, path: Path) -> None:
    """Refuse a receipt without what documents say of it."""
    require_facts(receipt.facts, NEEDED.get(receipt.stage, ()), path)
    if receipt.stage == "shuffle":
        check_form(receipt.facts["num_pixels"], {ANY: int}, str(path), "facts.num_pixels")
    if receipt.stage in ORDER:
        require_upstream(receipt.upstream, STAGES[receipt.stage].upstream, path)


def _read_manifest(file: FileDigest, lineage: Path) -> Manifest:
    path = lineage / f"{file.sha256}.json"
    if not path.is_file():
        raise _lost(file.path, file.sha256)
    return Manifest.from_dict(parse_json(read_intact(path), path), path)


def _manifest_file(receipt: Receipt) -> FileDigest:
    """Return the manifest among the outputs of a stage."""
    for output in receipt.outputs:
        if output.path.rpartition("/")[2] == MANIFEST_NAME:
            return output
    raise RecordError(f"{receipt.stage} receipt {receipt.digest[:12]} names no manifest")


def _lost(what: str, digest: str) -> RecordError:
    return RecordError(
        f"data/lineage has lost {what or 'a receipt'} {digest[:12]}; restore it from a backup and "
        "run `tessera audit`"
    )
