"""Publish an export: every tile embedded by the champion, in one immutable folder."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from tessera_core import __version__
from tessera_core.errors import ArtifactError, GateError, RecordError
from tessera_core.export.engine import export_tile
from tessera_core.export.preview import write_preview
from tessera_core.export.published import take_published
from tessera_core.export.store import DIGEST_ATTRIBUTE, root_attributes, write_store
from tessera_core.export.tiles import EXPORT_KIND
from tessera_core.export.validate import validate_export
from tessera_core.export.zones import zones_of
from tessera_core.model.artifact import best_device, load_artifact
from tessera_core.model.embed import use_one_thread
from tessera_core.records.files import (
    digest_file,
    digest_json,
    read_json,
    storage_errors,
)
from tessera_core.records.manifest import (
    MANIFEST_NAME,
    Manifest,
    find_differences,
    write_manifest,
)
from tessera_core.records.outcome import Outcome
from tessera_core.records.samples import list_tiles, read_scenes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tessera_core.config import PlatformConfig
    from tessera_core.export.tiles import ExportedTile
    from tessera_core.model.embed import ModelArtifact
    from tessera_core.ports import Ports
    from tessera_core.records.paths import Paths

REGISTRATION_NAME: Final = "registration.json"
IDENTITY_LENGTH: Final = 12
CIRCUMSTANCES: Final = ("register_receipt", "pretrain_receipt")
"""Facts of the run that published, not of the content: another run may differ in them."""

MAX_LISTED: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion:
    """The registered version that is served."""

    model_name: str
    """Name in the registry."""

    version: str
    """Version in the registry."""

    model_digest: str
    """Digest of the artifact."""

    pretrain: str
    """Digest of the receipt of the run that trained that version."""

    is_simulated: bool
    """True when it was trained on simulated scenes."""

    is_unscored: bool
    """True when no task could be scored for want of labels."""


def publish(config: PlatformConfig, paths: Paths, ports: Ports) -> Outcome:
    """Embed every tile with the champion and publish the result, once and for all.

    Raises:
        RecordError: There are no samples, or the same name was published with other content.
        ArtifactError: The champion's artifact is not the registered one.
        GateError: No version has become champion, or the validator found a fault in what was about
            to be published.
    """
    champion = read_champion(paths)
    use_one_thread()
    artifact = load_artifact(paths.champion, best_device())
    if artifact.digest != champion.model_digest:
        raise ArtifactError(
            f"{paths.champion} holds model {artifact.digest[:12]}, but the registration names "
            f"{champion.model_digest[:12]} as version {champion.version} of "
            f"{champion.model_name}; run `tessera register` again"
        )
    if config.export.bfloat16:
        artifact = artifact.in_bfloat16()
    samples = Manifest.read(paths.samples)
    identity: dict[str, Any] = {
        "model_digest": champion.model_digest,
        "samples_digest": samples.digest,
        "settings": config.section("export"),
    }
    if champion.is_unscored:
        identity["unscored"] = True  # scored later, it is published under another name
    mark = digest_json(identity)[:IDENTITY_LENGTH]
    name = f"{champion.model_name}-v{champion.version}-{mark}"
    manifest = take_published(name, config, paths)
    if manifest is None:
        manifest = _embed_and_publish(name, config, paths, ports, artifact, champion, identity)
    facts = manifest.facts
    return Outcome(
        outputs=(paths.exports / name / MANIFEST_NAME,),
        facts={
            "export": name,
            "model_name": champion.model_name,
            "version": champion.version,
            "model_digest": champion.model_digest,
            "samples_digest": samples.digest,
            "num_tiles": len(facts["tiles"]),
            "num_pixels": facts["num_pixels"],
            "dimensions": facts["dimensions"],
            "years": facts["years"],
            **({"unscored": True} if champion.is_unscored else {}),
        },
    )


def _embed_and_publish(
    name: str,
    config: PlatformConfig,
    paths: Paths,
    ports: Ports,
    artifact: ModelArtifact,
    champion: Champion,
    identity: Mapping[str, Any],
) -> Manifest:
    """Embed every tile beside the target, and publish what the validator found sound."""
    paths.exports.mkdir(parents=True, exist_ok=True)
    with (
        storage_errors(paths.exports / name),
        tempfile.TemporaryDirectory(prefix=f".{name}.", dir=paths.exports) as scratch,
    ):
        building = Path(scratch) / name
        building.mkdir()
        manifest = _build(building, config, paths, ports, artifact, champion, identity)
        if findings := validate_export(building):
            raise GateError(
                f"export {name} is not published, the validator found {len(findings)} "
                f"fault(s): {_listed(findings)}. This is a fault of the exporter or of the "
                "disk: run again, and report it when it returns"
            )
        _publish(building, paths.exports / name, manifest)
    return manifest


def read_champion(paths: Paths) -> Champion:
    """Return the champion that register wrote down.

    Raises:
        GateError: Register has made no version champion.
        RecordError: There is no registration, or it is none.
    """
    path = paths.registration / REGISTRATION_NAME
    stored = read_json(path)
    try:
        if stored["champion"] is None:
            raise GateError(_no_champion(stored))
        champion = stored["champion"]
        return Champion(
            model_name=str(stored["model_name"]),
            version=str(champion["version"]),
            model_digest=str(champion["model_digest"]),
            pretrain=str(champion["pretrain"]),
            is_simulated=bool(champion.get("simulated", False)),
            is_unscored=bool(champion.get("unscored", False)),
        )
    except (KeyError, TypeError) as error:
        raise RecordError(
            f"{path} names no champion ({error!r}), so there is nothing to export; "
            "run `tessera register` again"
        ) from error


def _no_champion(registration: Mapping[str, Any]) -> str:
    """Return why nothing is exported, and what to do, in one sentence."""
    name, version = registration["model_name"], registration["candidate"]["version"]
    return (
        f"{name} has no champion, so there is nothing to export: the rule left version {version} "
        "challenger (its card says why); train a better one, or overrule it with "
        f"`tessera promote {version} --by NAME --reason TEXT`"
    )


def source_uris(path: str, collections: Sequence[str]) -> list[str]:
    """Return one URI per collection of scenes.

    Args:
        path: ``ingest.path``: the address of a STAC API, or a folder relative to the root.
        collections: Collection ids.
    """
    if "://" in path:
        return [f"{path.rstrip('/')}/collections/{quote(name)}" for name in collections]
    return [f"file:{quote(path)}#{quote(name)}" for name in collections]


def _build(
    building: Path,
    config: PlatformConfig,
    paths: Paths,
    ports: Ports,
    artifact: ModelArtifact,
    champion: Champion,
    identity: Mapping[str, Any],
) -> Manifest:
    """Fill the folder: tiles, store, preview and, last, the manifest."""
    partitions = list_tiles(paths.samples)
    if not partitions:
        raise RecordError(f"no samples in {paths.samples}; run `tessera ingest` first")
    embed = partial(
        export_tile, artifact=artifact, export=building, batch_size=config.export.batch_size
    )
    tiles: list[ExportedTile] = sorted(
        ports.mapper("export_tile", embed, partitions), key=lambda tile: (tile.name, tile.year)
    )
    if not any(tile.num_pixels for tile in tiles):
        raise RecordError(
            f"none of {len(tiles)} tiles has a pixel with a valid observation; "
            "expected at least one. Look at `tessera quality`"
        )
    zones, years = zones_of(tiles), sorted({tile.year for tile in tiles})
    collections = sorted({row["collection"] for part in partitions for row in read_scenes(part)})
    attributes = root_attributes(
        model=f"models:/{champion.model_name}/{champion.version}",
        dimensions=artifact.config.output.dim,
        source_data=source_uris(config.ingest.path, collections),
        build_version=__version__,
    )
    attributes[DIGEST_ATTRIBUTE] = champion.model_digest
    attributes["tessera:samples_digest"] = identity["samples_digest"]
    samples = Manifest.read(paths.samples)
    # Real scenes embedded by a model that only knows simulated ones prove nothing either.
    simulated = champion.is_simulated or bool(samples.facts.get("simulated", False))
    attributes["tessera:simulated"] = simulated
    if champion.is_unscored:
        attributes["tessera:unscored"] = True
    write_store(building, zones, years, config.export, attributes)
    write_preview(building, zones, years)
    return write_manifest(
        building,
        EXPORT_KIND,
        {
            **identity,
            "model_name": champion.model_name,
            "version": champion.version,
            "pretrain_receipt": champion.pretrain,
            "register_receipt": _register_receipt(paths),
            "simulated": simulated,
            "dimensions": artifact.config.output.dim,
            "years": years,
            "num_pixels": sum(tile.num_pixels for tile in tiles),
            "tiles": [tile.to_dict() for tile in tiles],
        },
    )


def _publish(building: Path, target: Path, manifest: Manifest) -> None:
    """Give the folder its name, or keep the equal one that has it already."""
    if not target.exists():
        building.rename(target)
        return
    published = Manifest.read(target)
    faults = find_differences(target, published)
    if not faults:
        faults = _differences(published, manifest)
    if faults:
        raise RecordError(
            f"{target} was published before with other content: {_listed(faults)}. A published "
            "export never changes. If the folder was damaged, move it away and export again; if "
            "code or libraries now give other embeddings, train and register a new version"
        )


def _differences(published: Manifest, found: Manifest) -> list[str]:
    """Return what differs between two manifests of one name, circumstances aside."""
    old, new = ({entry.path: entry.sha256 for entry in part.files} for part in (published, found))
    faults = [f"{path} differs" for path in sorted(old | new) if old.get(path) != new.get(path)]
    facts = sorted((set(published.facts) | set(found.facts)) - set(CIRCUMSTANCES))
    return faults + [
        f"fact {name} differs"
        for name in facts
        if published.facts.get(name) != found.facts.get(name)
    ]


def _register_receipt(paths: Paths) -> str | None:
    """Return the digest of the register receipt, or None where the stage ran by itself."""
    path = paths.receipt("register")
    return digest_file(path, paths.workspace).sha256 if path.is_file() else None


def _listed(faults: Sequence[str]) -> str:
    more = len(faults) - MAX_LISTED
    return "; ".join(faults[:MAX_LISTED]) + (f"; and {more} more" if more > 0 else "")
