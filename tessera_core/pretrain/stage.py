"""The pretrain stage: shards in, model artifact out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tessera_core.records.labels import label_folders, label_sources
from tessera_core.records.manifest import MANIFEST_NAME
from tessera_core.records.outside import digest_source

if TYPE_CHECKING:
    from tessera_core.config import PlatformConfig
    from tessera_core.ports import Ports
    from tessera_core.records.files import FileDigest
    from tessera_core.records.outcome import Outcome
    from tessera_core.records.paths import Paths


def sources(config: PlatformConfig, paths: Paths) -> tuple[FileDigest, ...]:
    """Return the label rasters that the probe sees a part of, and what training starts from."""
    ingest, settings = config.ingest, config.pretrain
    folders = label_folders(paths.root, config.evaluate.labels, ingest.source, ingest.path)
    given = (settings.teacher, settings.imported)
    files = [paths.root / folder / MANIFEST_NAME for folder in given if folder is not None]
    if settings.continue_from is not None:
        files += sorted((paths.root / settings.continue_from).glob("step-*.json"))[-1:]
    given_files = (digest_source(path, paths.root) for path in files)
    return (*label_sources(folders, paths.root), *given_files)


def run(config: PlatformConfig, paths: Paths, ports: Ports) -> Outcome:
    """Train an encoder on the train split, or take an imported one, as a model artifact."""
    # Here, for to know whether there is anything to do takes no torch.
    from tessera_core.pretrain.outcome import train_or_import

    return train_or_import(config, paths, ports)
