"""One pixel of an export: what it is, and everything that it stands on.

Only the bytes on its path are read: its chunk, the samples and scenes tables of its tile, and
the receipts and manifests that lead there. A whole audit reads the rest.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from tessera_core.errors import InputError, RecordError
from tessera_core.lineage.audit.chain import walk_chain
from tessera_core.lineage.audit.checks import Chain
from tessera_core.lineage.audit.observations import Observation, read_observations, sample_names
from tessera_core.lineage.audit.outputs import RESTORE_LINEAGE, Verified
from tessera_core.lineage.audit.place import (
    Chunk,
    Place,
    chunk_of,
    places_of,
    read_chunk_pixel,
    read_tile_pixel,
)
from tessera_core.lineage.audit.report import AuditReport, Finding, Grade, in_order
from tessera_core.lineage.audit.subject import Subject
from tessera_core.records.files import read_json
from tessera_core.records.lineage import receipts_of
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.overrides import overrides_of
from tessera_core.records.receipt import Receipt

MODEL_CONFIG: Final = "data/model/config.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelYear:
    """What an export says of the pixel in one year, and which observations entered."""

    place: Place
    """Tile, row and column."""

    codes_digest: str
    """sha256 over the int8 codes, in order of the dimensions."""

    scale: float
    """Step between two codes."""

    files: Mapping[str, str]
    """Path in the export -> sha256, of the files that hold the pixel; all verified."""

    observations: tuple[Observation, ...]
    """By sensor and date, dropped ones too, then scenes that gave none."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            **asdict(self.place),
            "codes_digest": self.codes_digest,
            "scale": self.scale,
            "files": dict(self.files),
            "observations": [asdict(each) for each in self.observations],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelReport:
    """The answer for one pixel."""

    longitude: float
    """As asked, degrees."""

    latitude: float
    """As asked, degrees."""

    export: str
    """Name of the export."""

    years: tuple[PixelYear, ...]
    """One per year that has an embedding; empty where the evidence for it is broken."""

    gates: Mapping[str, Any]
    """Verdict of quality, decision about the version with reasons, decisions of people."""

    sampling: Mapping[str, Any]
    """Rule by which the model chooses among usable observations; empty where unknown."""

    audit: AuditReport
    """Receipts and findings."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "longitude": self.longitude,
            "latitude": self.latitude,
            "export": self.export,
            "years": [each.to_dict() for each in self.years],
            "gates": dict(self.gates),
            "sampling": dict(self.sampling),
            **self.audit.to_dict(),
        }


def audit_pixel(subject: Subject, longitude: float, latitude: float) -> PixelReport:
    """Find a pixel in an export and verify everything on its path.

    Args:
        subject: The export, as ``find_export`` returns it.
        longitude: Degrees east, WGS 84.
        latitude: Degrees north, WGS 84.

    Raises:
        InputError: The pixel is outside of the export or has no embedding.
        RecordError: The export's manifest is nowhere, so nothing can be found in it.
    """
    if subject.folder is None:
        raise InputError(f"{subject.name} is a version; a pixel lies in an export")
    lineage = subject.paths.lineage
    exported = Receipt.read(lineage / f"{subject.start}.json")
    manifest = _manifest(exported, subject.folder, lineage)
    places = places_of(manifest, longitude, latitude)
    chunks = {place: chunk_of(place, subject.folder, manifest) for place in places}
    wanted = _Path(exported, subject, chunks)
    report, chain = walk_chain(subject.start, subject.paths, wanted=wanted.holds)
    start = chain.receipts.get(subject.start)
    faults: list[Finding] = []
    years: list[PixelYear] = []
    if start is not None and not report.of(Grade.BLOCK):
        for place in _owners(places, start, exported):
            year, problems = _read_year(place, chunks[place], start, chain, subject)
            faults += problems
            years += [] if year is None else [year]
        if not years and not faults:
            raise InputError(
                f"the pixel at {longitude} {latitude} has no embedding: {_named(places[0])} is "
                "outside of the region of interest or had no valid observation"
            )
    return PixelReport(
        longitude=longitude,
        latitude=latitude,
        export=subject.folder.name,
        years=tuple(years),
        gates={} if start is None else _gates(start, chain, lineage),
        sampling={} if start is None else _sampling(start, chain),
        audit=replace(report, findings=in_order([*report.findings, *faults])),
    )


class _Path:
    """The files that one pixel stands on."""

    def __init__(
        self, exported: Receipt, subject: Subject, chunks: Mapping[Place, Chunk | None]
    ) -> None:
        folder = f"data/exports/{exported.facts['export']}"
        self._export = subject.start
        self._ingest = exported.upstream.get("ingest")
        self._exported = {
            f"{folder}/{path}"
            for place, chunk in chunks.items()
            for path in (place.codes, place.scales, place.grid, *(chunk.files if chunk else ()))
        }
        self._samples = {path for place in chunks for path in sample_names(place.tile, place.year)}

    def holds(self, digest: str, path: str) -> bool:
        """Return whether a file that a receipt's manifest lists is on the pixel's path."""
        if digest == self._export:
            return path in self._exported
        if digest == self._ingest:
            return path in self._samples
        return path == MODEL_CONFIG


def _manifest(exported: Receipt, folder: Path, lineage: Path) -> Manifest:
    """Return the manifest that the receipt names, from the lineage if it is there."""
    for output in exported.outputs:
        archived = lineage / f"{output.sha256}.json"
        if archived.is_file():
            return Manifest.from_dict(read_json(archived), archived)
    if not (folder / MANIFEST_NAME).is_file():
        raise RecordError(f"{folder} has no manifest, and the lineage neither; {RESTORE_LINEAGE}")
    return Manifest.read(folder)


def _owners(places: list[Place], start: Verified, exported: Receipt) -> Iterator[Place]:
    """Yield the pixel in each year: where tiles overlap, the first that has data keeps it."""
    folder = f"data/exports/{exported.facts['export']}"
    owned: set[int] = set()
    for place in places:
        files = [start.files[f"{folder}/{path}"] for path in (place.codes, place.scales)]
        _, scale = read_tile_pixel(place, *files)
        if place.year not in owned and math.isfinite(scale):
            owned.add(place.year)
            yield place


def _read_year(
    place: Place, chunk: Chunk | None, start: Verified, chain: Chain, subject: Subject
) -> tuple[PixelYear | None, list[Finding]]:
    """Return the pixel in one year from verified files, and what does not fit together."""
    if subject.folder is None:
        return None, []
    folder = f"data/exports/{start.receipt.facts['export']}"
    codes, scale = read_tile_pixel(
        place, start.files[f"{folder}/{place.codes}"], start.files[f"{folder}/{place.scales}"]
    )
    faults = []
    if chunk is not None:
        stored, stored_scale = read_chunk_pixel(chunk, subject.folder)
        if not np.array_equal(stored, codes) or stored_scale != scale:
            faults.append(_broken(place, "tile and store hold different codes", start.digest))
    observations = _observations(place, start, chain)
    if observations is None:
        faults.append(_broken(place, "it has an embedding, but no sample", start.digest))
    entries = {
        entry.path: entry.sha256
        for manifest in start.manifests.values()
        for entry in manifest.files
    }
    named = (place.codes, place.scales, *(chunk.files if chunk else ()))
    year = PixelYear(
        place=place,
        codes_digest=hashlib.sha256(codes.tobytes()).hexdigest(),
        scale=scale,
        files={path: entries[path] for path in named},
        observations=tuple(observations or ()),
    )
    return year, faults


def _observations(place: Place, start: Verified, chain: Chain) -> list[Observation] | None:
    ingest = chain.follow(start, "ingest")
    if ingest is None:
        return None
    names = sample_names(place.tile, place.year)
    if not all(name in ingest.files for name in names):
        return None
    samples, scenes = (ingest.files[name] for name in names)
    settings = ingest.receipt.config.get("ingest") or {}
    return read_observations(
        samples, scenes, row=place.row, column=place.column, year=place.year,
        radar_collection=str(settings.get("radar_collection")),
    )  # fmt: skip


def _gates(start: Verified, chain: Chain, lineage: Path) -> dict[str, Any]:
    """Return what let the pixel through: the gates of its samples and of its model."""
    ingest = start.receipt.upstream.get("ingest")
    verdicts = {
        each.digest: each.receipt.facts.get("verdict")
        for each in chain.of_stage("quality")
        if each.receipt.upstream.get("ingest") == ingest
    }
    model_digest = start.receipt.facts.get("model_digest")
    decided = [
        {
            "receipt": digest,
            "alias": (receipt.facts.get("decision") or {}).get("alias", ""),
            "reasons": (receipt.facts.get("decision") or {}).get("reasons", []),
        }
        for digest, receipt in receipts_of("register", lineage).items()
        if (receipt.facts.get("candidate") or {}).get("model_digest") == model_digest
    ]
    people = [
        {"record": digest, "by": each.by, "reason": each.reason, "before": each.before}
        for digest, each in overrides_of(lineage).items()
        if each.model_digest == model_digest
    ]
    return {"quality": verdicts, "promotion": decided, "overrides": people}


def _sampling(start: Verified, chain: Chain) -> dict[str, Any]:
    """Return the model's sampling rule from its verified configuration."""
    register = chain.follow(start, "register")
    trained = chain.champion(register, "pretrain") if register else None
    path = trained.files.get(MODEL_CONFIG) if trained else None
    if path is None:
        return {}
    sampling: dict[str, Any] = read_json(path).get("sampling") or {}
    return sampling


def _named(place: Place) -> str:
    return f"row {place.row}, column {place.column} of tile {place.tile} in {place.year}"


def _broken(place: Place, problem: str, digest: str) -> Finding:
    return Finding(
        grade=Grade.BLOCK,
        artefact=_named(place),
        problem=problem,
        next_step="audit the whole export: `tessera audit EXPORT`",
        concerns=(digest,),
    )
