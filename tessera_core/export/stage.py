"""The export stage: champion and samples in, one immutable folder of embeddings out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tessera_core.config import PlatformConfig
    from tessera_core.ports import Ports
    from tessera_core.records.files import FileDigest
    from tessera_core.records.outcome import Outcome
    from tessera_core.records.paths import Paths


def sources(config: PlatformConfig, paths: Paths) -> tuple[FileDigest, ...]:
    """Return nothing: the stage reads only what ingest and register made."""
    return ()


def run(config: PlatformConfig, paths: Paths, ports: Ports) -> Outcome:
    """Embed every tile with the champion and publish the result; raises as ``publish``."""
    # Here, for to know whether there is anything to do takes no torch.
    from tessera_core.export.publish import publish

    return publish(config, paths, ports)
