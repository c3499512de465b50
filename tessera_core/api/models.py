"""A model by what names it: a folder, a released file, or a version registered in a checkout."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch

from tessera_core.errors import InputError, RecordError
from tessera_core.lineage.audit.pointers import CHAMPION, possible_champions
from tessera_core.model.artifact import load_artifact
from tessera_core.model.checkpoint import doubts_of, read_checkpoint
from tessera_core.model.embed import ModelArtifact
from tessera_core.model.family import Family
from tessera_core.model.releases import RELEASES
from tessera_core.records.manifest import MANIFEST_NAME, Manifest
from tessera_core.records.paths import Paths
from tessera_core.register.decided import read_decided

REGISTERED: Final = re.compile(
    rf"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:/(?P<number>[0-9]+)|@{CHAMPION})"
)
EXPECTED: Final = (
    "expected a folder with a model's artifact, a released checkpoint, or NAME/VERSION or "
    f"NAME@{CHAMPION} of a checkout"
)


def load(
    model: str | Path,
    *,
    family: str | None = None,
    shapes: Mapping[str, int] | None = None,
    checkout: str | Path = ".",
    device: str = "cpu",
) -> ModelArtifact:
    """Load a model, checked: an artifact's files against its manifest, its canaries on the device.

    Registered versions are found in the checkout's receipts; no registry is asked. So aliases
    other than champion, and versions whose files the registry alone has, are refused. What a
    released file leaves open, as its number of heads, is warned of.

    Args:
        model: Folder of an artifact; a released ``.pt`` file; ``tessera/3``; ``tessera@champion``.
        family: Of a released file, as ``v1.1-mpc``: weights fit the norms of one release only.
        shapes: Of a released file, what its tensors do not tell, as ``{"s2_num_heads": 8}``.
        checkout: Where registered versions are looked for.
        device: As torch names it: ``cpu``, ``cuda``, ``cuda:1``.

    Returns:
        The model. Its ``digest`` is empty for a released file, which has no manifest.

    Raises:
        InputError: Nothing is named so, a released file comes without its family, or there is no
            such device.
        ArtifactError: The files are damaged, of another family, or compute something else here.
    """
    place, where = _device(device), Path(model)
    if where.is_file():
        return _released(where, family, shapes or {}, place)
    if family is not None:
        raise InputError(f"family {family!r} goes with a released file, and {model} is no file")
    if (where / MANIFEST_NAME).is_file():
        return load_artifact(where, place)
    return load_artifact(_registered(str(model), Path(checkout)), place)


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"{name!r} is no device, expected one as cpu or cuda:0") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {name} was asked for, but torch finds no CUDA here; take cpu")
    return device


def _released(
    file: Path, family: str | None, shapes: Mapping[str, int], device: torch.device
) -> ModelArtifact:
    names = [each.value for each in Family]
    if family not in names:
        raise InputError(
            f"{file} is a released file of family {family!r}, expected one of {', '.join(names)}: "
            "the file does not tell which norms its weights were trained with"
        )
    found = read_checkpoint(file, Family(family), shapes)
    if doubts := doubts_of(found, shapes):
        warnings.warn("\n".join([f"{file} leaves open:", *doubts]), stacklevel=3)
    return ModelArtifact(
        encoder=found.encoder.to(device),
        config=found.config,
        norms=RELEASES[Family(family)].norms,
        digest="",
    )


def _registered(reference: str, root: Path) -> Path:
    """Return the folder of a registered version's artifact; raises InputError."""
    paths = Paths(root=root, workspace=root)
    named = REGISTERED.fullmatch(reference)
    if named is None:
        raise InputError(f"there is no model {reference!r}; {EXPECTED}")
    if not paths.lineage.is_dir():
        raise InputError(
            f"{reference} names a registered version, but {root.resolve()} is no checkout: it has "
            "no data/lineage. Give `checkout`, or name the folder of the artifact"
        )
    name = named["name"]
    number = named["number"] or _champion(name, paths)
    decided = read_decided(name, paths.lineage).numbers
    digests = decided.get(number, set())
    if len(digests) != 1:
        raise InputError(
            f"the receipts of {root.resolve()} know {len(digests)} models as version {number} of "
            f"{name}, expected one; they know versions {', '.join(sorted(decided)) or 'none'}"
        )
    (digest,) = digests
    for folder in _artifacts(paths, digest):
        try:
            if Manifest.read(folder).digest == digest:
                return folder
        except RecordError:
            continue
    raise InputError(
        f"{name}/{number} is model {digest[:12]}, whose files are not in {root.resolve()}: only "
        f"the registry has them. Embed a "
        "tile with `tessera embed`, which keeps a copy, or name the folder of its artifact"
    )


def _champion(name: str, paths: Paths) -> str:
    """Return the version that serves by the receipts; raises InputError where they differ."""
    serving = {each or "none" for each in possible_champions(name, paths.lineage)}
    if len(serving) != 1 or serving == {"none"}:
        raise InputError(
            f"the receipts do not settle which version of {name} serves (possible: "
            f"{', '.join(sorted(serving)) or 'none'}); name one, as {name}/1"
        )
    return serving.pop()


def _artifacts(paths: Paths, digest: str) -> list[Path]:
    """Return the folders of a checkout that may hold a model."""
    made = [
        folder
        for root in paths.workspaces()
        for own in [Paths(root=paths.root, workspace=root)]
        for folder in (own.model, own.champion)
    ]
    return [paths.model_cache / digest, *made, *sorted(paths.imported.glob("[!.]*"))]
