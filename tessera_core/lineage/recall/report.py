"""The answer to a recall: what saw it, how much, what to do; as a record and as text."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tessera_core.lineage.recall.exposure import (
    TileExposure,
    TrainExposure,
    tile_exposure,
    train_exposure,
)
from tessera_core.lineage.recall.recalled import Kind, Recalled, Samples, read_samples, resolve
from tessera_core.lineage.recall.reruns import Plan, make_plan
from tessera_core.lineage.recall.trace import Trace, current_receipts, describe, trace
from tessera_core.records.content import Contents
from tessera_core.records.files import FileDigest, atomic_folder, digest_json, write_json
from tessera_core.records.lineage import Lineage, read_lineage
from tessera_core.records.paths import Paths
from tessera_core.records.superseded import reasons_on

RECALL_NAME: Final = "recall.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Affected:
    """One artifact that has seen the subject; plain values, for JSON and for the table."""

    what: str
    """samples, shards, model, export."""

    name: str
    """What people call it."""

    receipt: str
    """Digest of its receipt."""

    workspaces: tuple[str, ...]
    """Where that receipt is current, relative to the checkout; none for earlier runs."""

    ways: tuple[str, ...]
    """How it is affected: ``scenes``, ``training``, ``teacher``."""

    facts: Mapping[str, Any]
    """Tiles, versions, exposure; shares are 0..1."""

    pruned: tuple[str, ...]
    """sha256 of content that would be needed for more and that no copy is left of."""

    superseded: str
    """Reason of the stamp that it carries, empty without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """The whole answer."""

    subject: Recalled
    """What is recalled."""

    affected: tuple[Affected, ...]
    """In the order of the stages."""

    num_evaluations: int
    """Evaluate receipts of affected models or on affected samples."""

    plan: Plan
    """What has to run again."""

    undecided: tuple[str, ...]
    """Ingest receipts whose scenes tables are pruned, so that nobody can tell."""

    changed: tuple[str, ...]
    """Lineage files that do not hash to their name and were not believed."""

    num_records: int
    """Lineage files read."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @property
    def digest(self) -> str:
        """Identity: equal questions to equal lineages have equal answers."""
        return digest_json(self.to_dict())

    def of(self, what: str) -> list[Affected]:
        """Return the affected artifacts of one sort."""
        return [each for each in self.affected if each.what == what]


@dataclass(frozen=True, slots=True, kw_only=True)
class _World:
    """What a recall reads."""

    lineage: Lineage
    samples: Mapping[str, Samples]
    contents: Contents
    found: Trace
    current: Mapping[str, Mapping[str, str]]
    paths: Paths


def find_recall(
    what: str, settings: Mapping[str, Mapping[str, Any]], paths: Paths
) -> tuple[Recall, Trace]:
    """Answer what has seen a scene, tile or baseline.

    Args:
        what: Scene id, tile name, or baseline as ``N0400`` or ``04.00``.
        settings: The values of ``params.yaml`` by section.
        paths: The checkout.

    Raises:
        InputError: The lineage knows no such name.
    """
    lineage, contents = read_lineage(paths.lineage), Contents.of(paths)
    samples = read_samples(lineage, contents)
    found = trace(resolve(what, samples.values()), lineage, samples, paths)
    current = current_receipts(paths)
    world = _World(
        lineage=lineage, samples=samples, contents=contents, found=found, current=current,
        paths=paths,
    )  # fmt: skip
    exposures: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {}
    affected = [
        *(_samples_row(world, digest) for digest in found.ingests),
        *(_shards_row(world, digest, exposures) for digest in sorted(found.shuffles)),
        *(_model_row(world, digest, exposures) for digest in found.models),
        *(_export_row(world, digest) for digest in found.exports),
    ]
    recall = Recall(
        subject=found.subject,
        affected=tuple(affected),
        num_evaluations=len(found.evaluations),
        plan=make_plan(found, lineage, current, settings, paths),
        undecided=found.undecided,
        changed=lineage.changed,
        num_records=lineage.num_records,
    )
    return recall, found


def write_recall(recall: Recall, paths: Paths) -> Path:
    """Store the record, whole or not at all; return its path."""
    folder = paths.recall_of(recall.digest)
    if not (folder / RECALL_NAME).is_file():
        with atomic_folder(folder) as building:
            write_json(building / RECALL_NAME, recall.to_dict())
    return folder / RECALL_NAME


def _row(
    world: _World,
    digest: str,
    what: str,
    ways: Sequence[str],
    facts: Mapping[str, Any],
    pruned: Sequence[str] = (),
) -> Affected:
    return Affected(
        what=what,
        name=describe(world.lineage.receipts[digest]),
        receipt=digest,
        workspaces=tuple(w for w, held in world.current.items() if digest in held.values()),
        ways=tuple(str(way) for way in ways),
        facts=facts,
        pruned=tuple(pruned),
        superseded=reasons_on(world.paths.lineage, digest),
    )


def _samples_row(world: _World, digest: str) -> Affected:
    seen, samples = world.found.ingests[digest], world.samples[digest]
    facts = {
        "num_tiles": len(samples.files),
        "tiles": sorted({tile for tile, _ in seen.tiles}),
        "num_scenes": seen.num_scenes,
        "is_certain": seen.is_certain,
        "is_upper_bound": seen.shares_days,
    }
    return _row(
        world, digest, "samples", ["scenes"], facts, [entry.sha256 for entry in samples.pruned]
    )


def _shards_row(
    world: _World, digest: str, exposures: dict[str, tuple[dict[str, Any], tuple[str, ...]]]
) -> Affected:
    """Return a row with the share of training d-pixels; equal shards are read once."""
    receipt = world.lineage.receipts[digest]
    seen = world.found.ingests[receipt.upstream["ingest"]]
    key = ",".join(sorted(output.sha256 for output in receipt.outputs))
    if key not in exposures:
        train = [
            (entry, f"{folder}/{entry.path}")
            for folder, manifest in world.lineage.outputs(receipt)
            for entry in manifest.files
            if entry.path.startswith("train-")
        ]
        files, pruned = _find_all(train, world.contents)
        whole = bool(train) and not pruned and seen.is_certain
        exposures[key] = (
            _train_facts(train_exposure(files, seen.tiles)) if whole else {"train": None},
            pruned,
        )
    facts, pruned = exposures[key]
    exposures[digest] = exposures[key]
    return _row(world, digest, "shards", ["scenes"], facts, pruned)


def _model_row(
    world: _World,
    digest: str,
    exposures: Mapping[str, tuple[dict[str, Any], tuple[str, ...]]],
) -> Affected:
    receipt, found = world.lineage.receipts[digest], world.found
    facts, pruned = exposures.get(receipt.upstream.get("shuffle", ""), ({"train": None}, ()))
    versions = sorted(name for name, pretrain in found.versions.items() if pretrain == digest)
    facts = {**facts, "model_digest": receipt.facts["model_digest"], "versions": versions}
    return _row(world, digest, "model", found.models[digest], facts, pruned)


def _export_row(world: _World, digest: str) -> Affected:
    receipt, found = world.lineage.receipts[digest], world.found
    ingest = receipt.upstream["ingest"]
    tiles: list[TileExposure] = []
    pruned: list[str] = []
    if ingest in found.ingests:
        files = world.samples[ingest].files
        for place, days in found.ingests[ingest].tiles.items():
            entry, path = files[place]
            file = world.contents.find(entry, path)
            if file is None:
                pruned.append(entry.sha256)
            else:
                tiles.append(tile_exposure(file, place, days))
    facts = {
        "manifest": receipt.outputs[0].sha256,
        "num_tiles": receipt.facts["num_tiles"],
        "tiles": [asdict(tile) for tile in tiles],
    }
    return _row(world, digest, "export", found.exports[digest], facts, pruned)


def _train_facts(exposure: TrainExposure) -> dict[str, Any]:
    return {"train": {**asdict(exposure), "share": exposure.share}}


def _find_all(
    entries: Sequence[tuple[FileDigest, str]], contents: Contents
) -> tuple[list[Path], tuple[str, ...]]:
    """Return where files are, and the digests of those that no copy is left of."""
    found = [(entry, contents.find(entry, path)) for entry, path in entries]
    return (
        [file for _, file in found if file is not None],
        tuple(entry.sha256 for entry, file in found if file is None),
    )


def render_text(recall: Recall) -> list[str]:
    """Return the answer in lines for a terminal."""
    subject = recall.subject
    lines = [f"{subject.kind} {subject.name}, in {recall.num_records:,} records of the lineage"]
    tellers: tuple[tuple[str, Callable[[Affected], str]], ...] = (
        ("samples", _tell_samples),
        ("shards", _tell_train),
        ("model", _tell_model),
        ("export", _tell_export),
    )
    for what, tell in tellers:
        for each in recall.of(what):
            where = ", ".join(each.workspaces) or "earlier run"
            lines.append(f"{what:<8} {each.receipt[:12]}  {tell(each)}  [{where}]")
            if each.superseded:
                lines.append(f"{'':<8} superseded: {each.superseded}")
            if each.pruned:
                digests = ", ".join(digest[:12] for digest in each.pruned[:3])
                more = f" and {len(each.pruned) - 3} more" if len(each.pruned) > 3 else ""
                lines.append(f"{'':<8} pruned, so not measured: {digests}{more}")
    if recall.num_evaluations:
        lines.append(f"{recall.num_evaluations} evaluations rest on these")
    if any(each.facts["is_upper_bound"] for each in recall.of("samples")):
        lines.append(
            "shares are upper bounds: another scene of the same day covers these tiles too"
        )
    if recall.undecided:
        names = ", ".join(digest[:12] for digest in recall.undecided[:3])
        lines.append(
            f"{len(recall.undecided)} ingest runs cannot tell, their scenes tables are pruned: "
            f"{names}; `dvc fetch --all-commits` brings them back"
        )
    lines += [
        f"WARNING: {name} does not hash to its name, or holds what no record can, and was not "
        "believed; run `tessera audit`"
        for name in recall.changed
    ]
    return [*lines, *_tell_plan(recall)]


def _tell_samples(each: Affected) -> str:
    facts = each.facts
    if not facts["is_certain"]:
        return "named among its sources; its scenes tables are pruned"
    return f"in {len(facts['tiles'])} of {facts['num_tiles']} tiles"


def _tell_train(each: Affected) -> str:
    train = each.facts["train"]
    if train is None:
        return "share of training d-pixels not measured"
    return (
        f"{train['share']:.1%} of training d-pixels "
        f"({train['num_touched']:,} of {train['num_pixels']:,})"
    )


def _tell_model(each: Affected) -> str:
    versions = ", ".join(each.facts["versions"]) or "no version"
    return f"{each.name} ({versions}) by {' and '.join(each.ways)}: {_tell_train(each)}"


def _tell_export(each: Affected) -> str:
    tiles = each.facts["tiles"]
    text = f"{each.name} by {' and '.join(each.ways)}"
    if not tiles:
        return text
    mean = sum(tile["mean"] for tile in tiles) / len(tiles)
    most = max(tiles, key=lambda tile: float(tile["max"]))
    return (
        f"{text}: in {len(tiles)} of {each.facts['num_tiles']} tiles {mean:.1%} of observations "
        f"per pixel, at most {most['max']:.1%} (tile {most['tile']})"
    )


def _tell_plan(recall: Recall) -> list[str]:
    plan = recall.plan
    if not plan.reruns:
        return ["plan     nothing has to run again"]
    lines = []
    for rerun in plan.reruns:
        lines.append(f"plan     run {' '.join(rerun.stages)}")
        lines.append(f"{'':<8} in place of {rerun.workspace}, with")
        lines += [f"{'':<10} --set '{override}'" for override in rerun.overrides]
        lines += [f"{'':<8} reused: {line}" for line in rerun.reused]
    if plan.without_rerun:
        lines.append(
            f"{'':<8} not run again, nothing was published: {', '.join(plan.without_rerun)}"
        )
    name = recall.subject.name
    quoted = f'"{name}"' if recall.subject.kind is Kind.BASELINE else name
    lines.append(
        f"{'':<8} `tessera recall {name} --run` carries it out; to keep it out of every later "
        f"run, add {quoted} to ingest.exclude in params.yaml"
    )
    return lines
