"""Released and registered models from the command line: bring one in, embed a tile with one."""

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flows.context import Context
from flows.services.subjects import NAME, find_version_of
from tessera_core.errors import ArtifactError, InputError, RecordError
from tessera_core.lineage.audit.subject import export_folder

if TYPE_CHECKING:
    import torch

    from flows.adapters.registry import MlflowRegistry
    from tessera_core.model.embed import ModelArtifact
    from tessera_core.ports import RegisteredModel

EXPERIMENT: Final = "tessera-import"
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
GET_ONE: Final = (
    "A folder with a model's artifact may be named, too; import one with `tessera import-weights` "
    "or train one with `tessera retrain`"
)
DIGEST_LENGTH: Final = 12
"""Digits that tell the imports of one name apart."""


def parse_shapes(stated: Sequence[str]) -> dict[str, int]:
    """Return ``name=value`` words as numbers; raises InputError for anything else."""
    shapes: dict[str, int] = {}
    for word in stated:
        name, _, value = word.partition("=")
        if not name or not re.fullmatch(r"[0-9]+", value):
            raise InputError(f"--shape {word!r} is not of the form name=whole number")
        if shapes.get(name, int(value)) != int(value):
            raise InputError(f"--shape {name} is stated twice, as {shapes[name]} and as {value}")
        shapes[name] = int(value)
    return shapes


def import_weights(
    context: Context, file: Path, family: str, name: str, stated: Mapping[str, int]
) -> tuple[str, Path, list[str]]:
    """Turn a released checkpoint into a registered version.

    Args:
        context: Where registry and data are.
        file: The checkpoint.
        family: Name of a ``Family``.
        name: Name in the registry.
        stated: Shapes that the file does not tell.

    Returns:
        The version, the artifact's folder, and what a person should know.

    Raises:
        ArtifactError: The checkpoint is refused; nothing was registered.
        RecordError: The registry is older than the lineage; nothing was registered.
    """
    from tessera_core.model.artifact import load_artifact, write_artifact
    from tessera_core.model.canaries import made_up_canaries
    from tessera_core.model.checkpoint import doubts_of, read_checkpoint
    from tessera_core.model.encoder import count_parameters
    from tessera_core.model.family import Family
    from tessera_core.model.releases import RELEASES
    from tessera_core.records.files import digest_file

    require_name(name)
    chosen = Family(family)
    found = read_checkpoint(file, chosen, stated)
    norms = RELEASES[chosen].norms
    source = digest_file(file, file.parent)
    folder = context.paths.imported
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=folder) as scratch:
        building = Path(scratch) / "artifact"
        digest = write_artifact(
            building,
            found.encoder,
            found.config,
            norms,
            made_up_canaries(norms, found.config.sampling),
            facts={"source": {"file": source.path, "sha256": source.sha256, "size": source.size}},
        ).digest
        load_artifact(building)
        # Named by its content: receipts point here, so another import must not replace it.
        target = folder / f"{name}-{digest[:DIGEST_LENGTH]}"
        if not is_intact(target, digest):
            _remove(target)
            building.rename(target)
    with context.alone_with("registry"):
        refuse_older_registry(context, name)
        version = register_imported(context, target)
    encoder = found.config.encoder
    told = f"{count_parameters(found.encoder):,} parameters, model digest {digest[:12]}"
    heads = f"heads per layer: S2 {encoder.s2.num_heads}, S1 {encoder.s1.num_heads}"
    notes = [f"{family}: {told}; {heads}", *doubts_of(found, stated)]
    return version, target, notes


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """An artifact that a reference names."""

    folder: Path
    """Its files, verified."""

    name: str
    """For people, as ``tessera v3``."""

    run_id: str
    """MLflow run that made it, empty for a folder."""


def load_model(context: Context, reference: str, device: "torch.device") -> "ModelArtifact":
    """Return a model by what names a version or an export, or by an artifact's folder.

    Raises:
        InputError: There is no such model.
        ArtifactError: What the registry gave is not what it says.
    """
    from tessera_core.model.artifact import load_artifact

    return load_artifact(find_model(context, reference).folder, device)


def find_model(context: Context, reference: str | None) -> FoundModel:
    """Return where a model lies, as ``load_model`` names it; raises as ``load_model`` does.

    None is the model of the current export.
    """
    from tessera_core.records.manifest import MANIFEST_NAME

    folder = Path(reference or "")
    is_export = reference is None or export_folder(reference, context.paths) is not None
    # A folder that merely has the name of a model is none.
    if not is_export and (folder / MANIFEST_NAME).is_file():
        return FoundModel(folder=folder, name=folder.resolve().name, run_id="")
    from flows.adapters.registry import MlflowRegistry

    try:
        name, number = find_version_of(context, reference)
    except InputError as error:
        raise InputError(f"{str(error).rstrip('.')}. {GET_ONE}") from error
    registry = MlflowRegistry(context.settings, name, run_id="")
    version = registry.version(number)
    if version is None:
        raise InputError(
            f"{reference or f'{name}/{number}'} is no registered model, and no folder with an "
            f"artifact. {GET_ONE}"
        )
    return FoundModel(
        folder=fetch_version(context, registry, version, name),
        name=f"{name} v{version.version}",
        run_id=registry.run_of(version.version),
    )


def fetch_version(
    context: Context, registry: "MlflowRegistry", version: "RegisteredModel", name: str
) -> Path:
    """Return the folder of a version's artifact, fetched once and verified.

    Raises:
        ArtifactError: What the registry gave is not what it says.
    """
    if not DIGEST.fullmatch(version.model_digest):
        raise ArtifactError(
            f"version {version.version} of {name} has no digest in its tags, but "
            f"{version.model_digest!r}; another tool registered it, or its tag was changed"
        )
    folder = context.paths.model_cache / version.model_digest
    if not is_intact(folder, version.model_digest):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".arriving.", dir=folder.parent) as scratch:
            arriving = Path(scratch) / "artifact"
            registry.fetch(version.version, arriving)
            # Before it is kept: the cache serves every version of this digest.
            if not is_intact(arriving, version.model_digest):
                raise ArtifactError(
                    f"version {version.version} of {name} does not hold the model "
                    f"{version.model_digest[:12]} that its tag names; one of them was changed. "
                    "Audit before going on"
                )
            _remove(folder)
            arriving.rename(folder)
    return folder


def is_intact(folder: Path, digest: str) -> bool:
    """Return whether a folder holds a model of this digest, every byte as its manifest says."""
    from tessera_core.records.manifest import Manifest, find_differences

    try:
        manifest = Manifest.read(folder)
    except RecordError:
        return False
    return manifest.digest == digest and not find_differences(folder, manifest)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def require_name(name: str) -> None:
    """Refuse a model name that a registry or a folder cannot have; raises InputError."""
    if not NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is no model name, expected letters, digits, '.', '_' and '-', as tessera-v2"
        )


def register_imported(context: Context, folder: Path) -> str:
    """Make an imported artifact a version, unless it is one already; return the version."""
    from flows.adapters.registry import MlflowRegistry
    from flows.adapters.tracking import open_run
    from tessera_core.records.manifest import Manifest

    manifest, name = Manifest.read(folder), imported_name(folder)
    digest = manifest.digest
    tags = {
        "tessera.model_digest": digest,
        "tessera.family": str(manifest.facts["family"]),
        "tessera.source_sha256": str(manifest.facts["source"]["sha256"]),
    }
    with open_run(
        context.settings, f"import-{name}-{digest}", f"import {name}", experiment=EXPERIMENT
    ) as tracker:
        registry = MlflowRegistry(context.settings, name, tracker.run_id)
        version = registry.find(digest) or registry.register(folder, tags)
        tracker.set_tags(tags)
    return version.version


def refuse_older_registry(context: Context, name: str) -> None:
    """Refuse to register in a registry that is older than the lineage; raises RecordError."""
    from flows.adapters.registry import MlflowRegistry
    from tessera_core.register.decided import read_decided, require_known_registry

    registry = MlflowRegistry(context.settings, name, run_id="")
    decided = read_decided(name, context.paths.lineage)
    require_known_registry(name, decided, registry.listed(), registry.reached())


def imported_name(folder: Path) -> str:
    """Return the name in the registry of an imported artifact, whose folder ends in its digest."""
    return folder.name[: -DIGEST_LENGTH - 1]
