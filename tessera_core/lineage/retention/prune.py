"""What may go: caches, finished checkpoints, unnamed evaluations, refused trials, DVC objects."""

import csv
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tessera_core.errors import ConfigError, InputError, RecordError
from tessera_core.lineage.retention.inventory import (
    RELEASES,
    Checkout,
    Inventory,
    Item,
    is_held,
    look_at,
    staying,
)
from tessera_core.records.content import Contents
from tessera_core.records.files import digest_file, read_json, storage_errors
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.paths import Paths
from tessera_core.records.typed import read_yaml

REFUSED: Final = "failed"
"""What a sweep's table says of trials that made nothing to use."""

DIRECTORY: Final = ".dir"
"""Ending of DVC's lists of a folder's files."""


def take_inventory(paths: Paths) -> Inventory:
    """Sort a checkout into what may go and what must stay.

    Raises:
        InputError: The lineage is empty or was changed.
    """
    checkout = look_at(paths)
    refused, kept = _workspaces(checkout)
    gone = tuple(f"{item.path}/" for item in refused)
    prunable = [*_caches(checkout), *refused]
    for items in (_checkpoints(checkout), _evaluations(checkout)):
        for item, may_go in items:
            if item.path.startswith(gone):
                continue
            (prunable if may_go else kept).append(item)
    objects, rest = _dvc_objects(checkout)
    kept += rest
    stays = {item.path: item for item in staying(checkout) if not item.path.startswith(gone)}
    stays |= {item.path: item for item in kept}
    return Inventory(prunable=(*prunable, *objects), staying=tuple(stays.values()))


def delete(inventory: Inventory, paths: Paths) -> int:
    """Delete exactly what an inventory lists as prunable; return the bytes.

    Raises:
        InputError: Something on the list lies outside the checkout's data folder and DVC's cache,
            or is a link; then nothing was deleted.
        StorageError: The machine refused.
    """
    root = paths.root.resolve()
    allowed = (root / "data", root / ".dvc" / "cache")
    places = [paths.root / item.path for item in inventory.prunable]
    for place in places:
        real = place.resolve()
        if place.is_symlink() or not any(real.is_relative_to(a) and real != a for a in allowed):
            raise InputError(
                f"{place} is not deleted, and nothing else: it is {real}, expected something "
                f"below {allowed[0]} or {allowed[1]}"
            )
    for place in places:
        with storage_errors(place):
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
    return sum(item.size for item in inventory.prunable)


def _caches(checkout: Checkout) -> Iterator[Item]:
    paths = checkout.paths
    for folder in sorted(paths.feed_cache.glob("*")):
        if folder == paths.model_cache:
            for model in sorted(folder.glob("*")):
                yield checkout.item(model, "copy of a registered model; fetched again when asked")
        elif not any(is_held(lock) for lock in folder.glob(".*.lock")):
            yield checkout.item(folder, "unpacked shards; made again by the next training")
    if paths.baselines.is_dir():
        yield checkout.item(paths.baselines, "answers of baselines; fitted again when asked")


def _checkpoints(checkout: Checkout) -> Iterator[tuple[Item, bool]]:
    """Yield every run's checkpoints and whether they may go."""
    finished = [
        (receipt.facts.get("shards"), receipt.config.get("pretrain", {}))
        for receipt in checkout.lineage.of_stage("pretrain").values()
    ]
    sources = checkout.sources
    for folder in checkout.paths.all_checkpoints():
        name = folder.relative_to(checkout.paths.root).as_posix()
        if any(source.startswith(f"{name}/") for source in sources):
            yield checkout.item(folder, "a later training went on from it"), False
        elif is_held(folder / ".lock"):
            yield checkout.item(folder, "a training holds it"), False
        elif _is_finished(folder, finished):
            yield checkout.item(folder, "checkpoints of a run that has its receipt"), True
        else:
            yield checkout.item(folder, "an unfinished training goes on from it"), False


def _is_finished(folder: Path, finished: list[tuple[Any, Mapping[str, Any]]]) -> bool:
    """Return whether a receipt tells of this very training, and its last step is done."""
    claims = sorted(folder.glob("step-*.json"))
    if not claims:
        return False
    try:
        identity = read_json(claims[-1])["identity"]
        settings, shards = identity["pretrain"], identity["shards"]
        is_last = int(claims[-1].stem.partition("-")[2]) >= settings["num_steps"]
    except (RecordError, KeyError, TypeError, ValueError):
        return False
    return is_last and any(
        shards == known and all(config.get(name) == settings[name] for name in settings)
        for known, config in finished
    )


def _evaluations(checkout: Checkout) -> Iterator[tuple[Item, bool]]:
    """Yield evaluations and comparisons that stand beside the stages, and whether they may go."""
    receipts = checkout.lineage.receipts
    named = {
        digest: f"{receipt.stage} receipt {name[:12]}"
        for name, receipt in receipts.items()
        for digest in (
            *(output.sha256 for output in receipt.outputs),
            *(receipt.facts.get("evidence") or {}).values(),
        )
    }
    for folder in sorted((checkout.paths.root / "data").glob("evaluations/*/")) + sorted(
        (checkout.paths.root / "data").glob("comparisons/*/")
    ):
        try:
            manifest = Manifest.read(folder).digest
            own = digest_file(folder / MANIFEST_NAME, folder).sha256
        except RecordError:
            continue  # being written, or not ours to judge
        witness = named.get(manifest) or named.get(own)
        if witness is not None:
            yield checkout.item(folder, f"named by {witness}"), False
            continue
        yield checkout.item(folder, "named by no receipt; made again when asked"), True
        for page in (folder.with_suffix(".html"), folder.with_suffix(".receipt.json")):
            if page.is_file():
                yield checkout.item(page, "belongs to it"), True


def _workspaces(checkout: Checkout) -> tuple[list[Item], list[Item]]:
    """Return workspaces of trials that failed or were refused: those that may go, and the rest.

    One stays when it holds the only copy of something that a version or export stands on.
    """
    prunable, kept = [], []
    failed = _failed_trials(checkout.paths)
    remaining, sources = checkout.paths.workspaces(), checkout.sources
    for workspace in checkout.paths.workspaces()[1:]:
        name = workspace.relative_to(checkout.paths.root).as_posix()
        has_released = any(
            (workspace / f"data/receipts/{stage}.json").exists() for stage in RELEASES
        )
        if has_released or (name not in failed and not _was_refused(workspace)):
            continue
        if any(source.startswith(f"{name}/") for source in sources):
            kept.append(checkout.item(workspace, "holds what another training started from"))
            continue
        others = Contents(
            workspaces=tuple(w for w in remaining if w != workspace),
            lineage=checkout.paths.lineage,
            dvc_cache=checkout.paths.dvc_cache,
        )
        if (alone := _only_here(workspace, others, checkout)) is not None:
            kept.append(checkout.item(workspace, f"has the only copy of {alone}"))
            continue
        remaining.remove(workspace)
        prunable.append(checkout.item(workspace, "its run failed or a gate refused it"))
    return prunable, kept


def _failed_trials(paths: Paths) -> set[str]:
    """Return the workspaces that sweeps' tables call failed, relative to the checkout."""
    found = set()
    for table in sorted(paths.sweeps.glob("*/trials.csv")):
        with table.open(encoding="utf-8", newline="") as file:
            found |= {row["workspace"] for row in csv.DictReader(file) if row["status"] == REFUSED}
    return found - {""}


def _was_refused(workspace: Path) -> bool:
    """Return whether the quality gate said no there, and nothing came after it."""
    if (workspace / "data" / "receipts" / "pretrain.json").exists():
        return False
    try:
        return Manifest.read(workspace / "data" / "quality").facts.get("verdict") == "failed"
    except RecordError:
        return False


def _only_here(workspace: Path, others: Contents, checkout: Checkout) -> str | None:
    """Return what a released receipt names and only this workspace has; None when nothing."""
    lineage = checkout.lineage
    for digest in sorted(checkout.released):
        for entry, path in lineage.files(lineage.receipts[digest]):
            place = workspace / path
            is_likely = place.is_file() and place.stat().st_size == entry.size
            if is_likely and others.find(entry, path) is None:
                return f"{path}, which receipt {digest[:12]} names"
    return None


def _dvc_objects(checkout: Checkout) -> tuple[list[Item], list[Item]]:
    """Return the objects of DVC's cache that nothing names, and one line for those that stay."""
    cache = checkout.paths.dvc_cache
    objects = {
        f"{path.parent.name}{path.name}": path
        for path in sorted(cache.glob("??/*"))
        if path.is_file() and not path.is_symlink()
    }
    wanted = _pointed_at(checkout.paths) | {
        entry.md5
        for receipt in checkout.lineage.receipts.values()
        for entry, _ in checkout.lineage.files(receipt)
    }
    wanted |= {
        entry.md5 for manifest in checkout.lineage.manifests.values() for entry in manifest.files
    }
    for name, path in objects.items():
        if name.endswith(DIRECTORY):
            listed = _listed(path)
            # A list of needed files is needed to check them out; then with all that it lists.
            if name in wanted or listed & wanted:
                wanted |= {name, *listed}
    prunable = [
        checkout.item(path, "DVC object that no manifest and no dvc.lock names")
        for name, path in objects.items()
        if name not in wanted
    ]
    num_kept = len(objects) - len(prunable)
    size = sum(path.stat().st_size for path in objects.values()) - sum(i.size for i in prunable)
    where = cache.relative_to(checkout.paths.root).as_posix()
    reason = f"{num_kept} objects that manifests of the lineage, dvc.lock or .dvc files name"
    return prunable, [Item(path=where, size=size, reason=reason)] if objects else []


def _pointed_at(paths: Paths) -> set[str]:
    """Return the md5s in dvc.lock and in the pointer files of runs with overrides."""
    found: set[str] = set()
    pointers = [paths.root / "dvc.lock", *paths.root.glob("data/*.dvc")]
    for pointer in [*pointers, *paths.root.glob("data/runs/*/data/*.dvc")]:
        if not pointer.is_file():
            continue
        try:
            stored = read_yaml(pointer, "`git checkout` brings it back")
            stages = stored.get("stages", {}).values() if "stages" in stored else [stored]
            outs = [out for stage in stages for out in stage.get("outs", ())]
            found |= {out["md5"] for out in outs if "md5" in out}
        except (ConfigError, AttributeError, TypeError) as error:
            raise RecordError(
                f"{pointer} cannot be read, so nobody can tell what DVC needs: {error}"
            ) from error
    return found


def _listed(path: Path) -> set[str]:
    """Return the md5s of a folder's files."""
    try:
        return {entry["md5"] for entry in read_json(path)}
    except (RecordError, KeyError, TypeError):
        return set()
