"""Released and registered models from the command line: bring one in, embed a tile with one."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flows.context import Context
from tessera_core.errors import ArtifactError, InputError

if TYPE_CHECKING:
    import torch

    from tessera_core.model.embed import ModelArtifact

EXPERIMENT: Final = "tessera-import"
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What both a registry and a folder can be called."""


def parse_shapes(stated: Sequence[str]) -> dict[str, int]:
    """Return ``name=value`` words as numbers; raises InputError for anything else."""
    shapes: dict[str, int] = {}
    for word in stated:
        name, separator, value = word.partition("=")
        if not separator or not re.fullmatch(r"\d+", value):
            raise InputError(f"--shape {word!r} is not of the form name=whole number")
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
    """
    from tessera_core.model.artifact import load_artifact, write_artifact
    from tessera_core.model.canaries import made_up_canaries
    from tessera_core.model.checkpoint import read_checkpoint
    from tessera_core.model.encoder import count_parameters
    from tessera_core.model.family import Family
    from tessera_core.model.releases import RELEASES
    from tessera_core.records.files import digest_file

    require_name(name)
    chosen = Family(family)
    found = read_checkpoint(file, chosen, stated)
    norms = RELEASES[chosen].norms
    source = digest_file(file, file.parent)
    folder = context.paths.imported / name
    write_artifact(
        folder,
        found.encoder,
        found.config,
        norms,
        made_up_canaries(norms, found.config.sampling),
        facts={"source": {"file": source.path, "sha256": source.sha256, "size": source.size}},
    )
    digest = load_artifact(folder).digest
    tags = {
        "tessera.model_digest": digest,
        "tessera.family": family,
        "tessera.source_sha256": source.sha256,
    }
    version = _register(context, folder, name, tags)
    encoder = found.config.encoder
    told = f"{count_parameters(found.encoder):,} parameters, model digest {digest[:12]}"
    heads = f"heads per layer: S2 {encoder.s2.num_heads}, S1 {encoder.s1.num_heads}"
    notes = [f"{family}: {told}; {heads}", *_doubts(family, found.notes, encoder.qk_norm, stated)]
    return version, folder, notes


def load_model(context: Context, reference: str, device: "torch.device") -> "ModelArtifact":
    """Return a model by ``NAME``, ``NAME/VERSION`` or ``NAME@ALIAS``, or by an artifact's folder.

    ``NAME`` alone is the champion, or the newest version where no version is.

    Raises:
        InputError: There is no such model.
        ArtifactError: What the registry gave is not what it says.
    """
    from tessera_core.model.artifact import load_artifact
    from tessera_core.records.manifest import MANIFEST_NAME, Manifest

    if (Path(reference) / MANIFEST_NAME).is_file():
        return load_artifact(Path(reference), device)
    from flows.adapters.registry import MlflowRegistry

    name, separator, which = re.fullmatch(r"([^/@]*)([/@]?)(.*)", reference, re.S).groups()  # type: ignore[union-attr]
    if not NAME.fullmatch(name):
        raise InputError(
            f"{reference!r} is no folder with an artifact, and not of the form NAME, NAME/VERSION "
            "or NAME@ALIAS"
        )
    registry = MlflowRegistry(context.settings, name, run_id="")
    if separator == "/":
        version = registry.version(which)
    elif separator == "@":
        version = registry.by_alias(which)
    else:
        version = registry.champion() or registry.newest()
    if version is None:
        raise InputError(
            f"{reference} is no registered model, and no folder with an artifact; import one with "
            "`tessera import-weights` or train one with `tessera retrain`"
        )
    called = f"version {version.version} of {name}"
    if not version.model_digest:
        raise ArtifactError(
            f"{called} does not say which model it is: its tag tessera.model_digest is missing. "
            "Register it again"
        )
    folder = context.paths.model_cache / version.model_digest
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        arriving = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(arriving, ignore_errors=True)
        registry.fetch(version.version, arriving)
        # Before it is kept: a copy that is something else would be refused ever after.
        _require_digest(called, Manifest.read(arriving).digest, version.model_digest)
        arriving.rename(folder)
    artifact = load_artifact(folder, device)
    _require_digest(called, artifact.digest, version.model_digest)
    return artifact


def _require_digest(called: str, found: str, expected: str) -> None:
    if found != expected:
        raise ArtifactError(
            f"{called} holds model {found[:12]}, its tag says {expected[:12]}; one of them was "
            "changed. Audit before going on"
        )


def require_name(name: str) -> None:
    """Refuse a model name that a registry or a folder cannot have; raises InputError."""
    if not NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is no model name, expected letters, digits, '.', '_' and '-', as tessera-v2"
        )


def _register(context: Context, folder: Path, name: str, tags: Mapping[str, str]) -> str:
    """Make an artifact a version, unless it is one already; return the version."""
    from flows.adapters.registry import MlflowRegistry
    from flows.adapters.tracking import open_run

    digest = tags["tessera.model_digest"]
    with open_run(
        context.settings, f"import-{name}-{digest}", f"import {name}", experiment=EXPERIMENT
    ) as tracker:
        registry = MlflowRegistry(context.settings, name, tracker.run_id)
        version = registry.find(digest) or registry.register(folder, tags)
        tracker.set_tags(tags)
    return version.version


def _doubts(
    family: str, notes: Mapping[str, object], qk_norm: bool, stated: Mapping[str, int]
) -> list[str]:
    """Return what the file does not prove, for a person to check."""
    doubts = []
    source = notes.get("data_source")
    if source is not None and not family.endswith(str(source)):
        doubts.append(
            f"WARNING: the file's own config names data source {source!r}, but its norms are now "
            f"those of {family}. Were the weights trained on that source?"
        )
    told = qk_norm or any(name.endswith("nhead") or name.endswith("num_heads") for name in notes)
    if not told and not any(name.endswith("num_heads") for name in stated):
        doubts.append(
            "neither tensors nor file tell the number of heads: it is the release's; state it "
            "with --shape num_heads=N if this checkpoint has another"
        )
    return doubts
