"""Versions, aliases, reasons and overrides of a registry, restored from what receipts tell."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flows.reporting import training_of
from flows.services.evidence import bring_outputs
from flows.services.models import imported_name, register_imported
from flows.services.registry_history import Standing, Version
from flows.services.replay_layout import Work, laid_out, model_folder
from tessera_core.records.dvc import folder_address
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.register.stage import version_tags

if TYPE_CHECKING:
    from flows.adapters.registry import MlflowRegistry


DATA_PREFIX: Final = "dvc."


def restore_versions(standing: Standing, work: Work) -> None:
    """Restore a registered model: each version under its number, then the aliases."""
    for version in standing.versions:
        _restore_version(standing, version, work)
    registry = _registry(standing.name, work)
    if standing.versions:
        registry.note_reached(standing.versions[-1].number)
    for alias, number in standing.aliases.items():
        name, there = f"{standing.name}@{alias}", registry.by_alias(alias)
        if there is not None and there.version != number:
            work.report.notes.append(
                f"{name} is version {there.version}, and receipts tell of {number}; left as it is"
            )
        elif there is None and registry.version(number) is not None:
            registry.set_alias(alias, number, {})
            work.report.restored.append(f"{name} is version {number}")
            if not standing.is_certain:
                work.report.notes.append(
                    f"{name}: no order of the decisions agrees with all of them, so look whether "
                    "this is the one you know; `tessera promote` changes it"
                )


def restore_imports(work: Work) -> None:
    """Register imported weights again, those that no receipt gave a number."""
    for folder in _imports(work):
        name = imported_name(folder)
        if _registry(name, work).find(Manifest.read(folder).digest) is not None:
            work.report.intact.append(f"import {folder.name}")
        else:
            _restore_import(folder, work)


def _restore_version(standing: Standing, version: Version, work: Work) -> None:
    registry, number = _registry(standing.name, work), version.number
    name = f"{standing.name} version {number}"
    tags = {**_tags(version, work), **standing.tags.get(str(number), {})}
    there = registry.version(str(number))
    if there is not None:
        _complete(registry, version, tags, work)
        return
    if not _make_room(registry, standing, number, work):
        work.report.notes.append(f"{name}: it was deleted, and no number is given twice")
        return
    made_by = _registry(standing.name, work, _run_of(version, work))
    trained = work.history.lineage.receipts.get(version.pretrain)
    if trained is not None:
        bring_outputs(work.context.paths, trained.outputs)
    with laid_out(version.pretrain, work) as laid:
        folder = model_folder(laid, work, version.model_digest)
        held = made_by.register(folder, tags) if folder else made_by.hold_number(tags)
    if held.version != str(number):
        made_by.delete(held.version)
        work.report.notes.append(f"{name}: it was deleted, and no number is given twice")
        return
    if folder is None:
        work.report.notes.append(f"{name}: its artifact was pruned; number and tags are kept")
    work.report.restored.append(name)


def _complete(
    registry: "MlflowRegistry", version: Version, tags: Mapping[str, str], work: Work
) -> None:
    """Add the tags that a version lacks; what it says already is left."""
    number = str(version.number)
    known = registry.tags_of(number)
    if (told := known.get("tessera.model_digest")) not in (None, version.model_digest):
        work.report.notes.append(
            f"version {number} is tagged as model {str(told)[:12]}, and receipts tell of "
            f"{version.model_digest[:12]}; left as it is, audit it"
        )
        return
    # Runs in workspaces of their own are registered without DVC's addresses: nothing was lost.
    missing = {
        key: value
        for key, value in tags.items()
        if key not in known and not key.startswith(DATA_PREFIX)
    }
    registry.set_tags(number, missing)
    if missing:
        work.report.restored.append(f"tags of version {number}: {', '.join(sorted(missing))}")
    else:
        work.report.intact.append(f"version {number}")


def _make_room(registry: "MlflowRegistry", standing: Standing, number: int, work: Work) -> bool:
    """Use up the numbers before one: imports had some, others stand for nothing any more."""
    newest = registry.newest()
    reached = int(newest.version) if newest else 0
    known = {version.model_digest for version in standing.versions}
    imports = iter(
        folder
        for folder in _imports(work)
        if imported_name(folder) == standing.name and Manifest.read(folder).digest not in known
    )
    while reached < number - 1:
        folder = next(imports, None)
        reached = int(_restore_import(folder, work) if folder else registry.skip_number())
    return reached == number - 1


def _restore_import(folder: Path, work: Work) -> str:
    """Register an import and return its version."""
    version = register_imported(work.context, folder)
    work.report.restored.append(f"import {folder.name}, version {version}")
    return version


def _imports(work: Work) -> list[Path]:
    """Return the folders of imported weights."""
    folders = sorted(work.context.paths.imported.glob("*"))
    return [folder for folder in folders if (folder / MANIFEST_NAME).is_file()]


def _run_of(version: Version, work: Work) -> str:
    """Return the id of the run that made a version; one that says so where its receipt is lost."""
    from flows.adapters.tracking import find_run_id, open_run

    receipt = work.history.lineage.receipts.get(version.pretrain)
    found = find_run_id(work.context.settings, training_of(receipt)[0]) if receipt else None
    if found is not None:
        return found
    name = f"lost-{version.pretrain[:6]}"
    with open_run(work.context.settings, version.pretrain, name) as tracker:
        return tracker.run_id


def _registry(name: str, work: Work, run_id: str = "") -> "MlflowRegistry":
    from flows.adapters.registry import MlflowRegistry

    return MlflowRegistry(work.context.settings, name, run_id)


def _tags(version: Version, work: Work) -> dict[str, str]:
    """Return the tags that a version was registered with, as far as receipts tell."""
    receipts = work.history.lineage.receipts
    pretrain, evaluate = receipts.get(version.pretrain), receipts.get(version.evaluate)
    if pretrain is None or evaluate is None:
        work.report.notes.append(f"version {version.number}: the lineage lost what it came from")
        return {
            "tessera.model_digest": version.model_digest,
            "tessera.receipt.pretrain": version.pretrain,
            "tessera.receipt.evaluate": version.evaluate,
        }
    with laid_out(version.evaluate, work) as laid:
        settings = laid.context.config.digest if laid.has_settings else "unknown"
    data = _data_versions(version, work)
    return version_tags(settings, data, version.model_digest, pretrain, evaluate)


def _data_versions(version: Version, work: Work) -> dict[str, str]:
    """Return DVC's addresses of what a version was made from, in a checkout that uses DVC."""
    if not (work.context.paths.root / ".dvc").is_dir():
        return {}
    chain, addresses = work.history.lineage.chain(version.pretrain), {}
    for stage, tag in (("ingest", "samples"), ("shuffle", "shards"), ("pretrain", "model")):
        output = chain[stage].outputs[0] if stage in chain else None
        manifest = None if output is None else work.manifest(output)
        if output is not None and manifest is not None:
            addresses[f"{DATA_PREFIX}{tag}"] = folder_address(manifest, output.md5)
    return addresses
