"""The stages, and the one way to run any of them.

A stage package has a module ``stage`` with ``sources(config, paths)``, the files it reads from
outside the chain, and ``run(config, paths, ports) -> Outcome``. Here the receipt is written and
a stage whose inputs, settings and code are unchanged is reused. The command line and the
Prefect tasks both come through ``run_stage``. A run in another workspace may take over what a
lender has made of the very same inputs, settings and code.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from tessera_core.config import PlatformConfig
from tessera_core.errors import RecordError, did_you_mean
from tessera_core.ports import Ports
from tessera_core.records.code import (
    CodeVersion,
    code_version,
    environment_digest,
)
from tessera_core.records.cycle import STAGES, Stage
from tessera_core.records.files import FileDigest, digest_file, write_atomically
from tessera_core.records.manifest import MANIFEST_NAME, Manifest, find_differences
from tessera_core.records.outcome import Outcome
from tessera_core.records.outside import remember_place
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt, reuse_key, write_receipt
from tessera_core.records.sharing import share_outputs


class StageModule(Protocol):
    """What ``tessera_core.<stage>.stage`` provides."""

    def sources(self, config: PlatformConfig, paths: Paths) -> tuple[FileDigest, ...]:
        """Return the digests of files from outside the chain."""

    def run(self, config: PlatformConfig, paths: Paths, ports: Ports) -> Outcome:
        """Do the work and say what came out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """What a caller of ``run_stage`` learns."""

    receipt: Receipt
    """The stage's current receipt."""

    reused: bool
    """True when nothing had to run."""


def run_stage(
    name: str,
    config: PlatformConfig,
    paths: Paths,
    ports: Ports,
    lenders: Sequence[Paths] = (),
) -> StageResult:
    """Run one stage, or reuse outputs when nothing that decides them has changed.

    Args:
        name: Which stage.
        config: All settings.
        paths: Where inputs and outputs are.
        ports: Tracker, registry and the other implementations that the caller brings.
        lenders: Other workspaces of the checkout whose outputs may be shared, in this order.

    Raises:
        RecordError: An upstream stage has not run in this workspace.
        TesseraError: Whatever the stage itself refuses.
    """
    stage = _stage(name)
    inputs = _gather_inputs(stage, config, paths)
    remember_place(inputs.sources, paths.root)
    if not stage.looks_every_time:
        known = _reusable(inputs, paths) or _take_over(inputs, paths, lenders)
        if known is not None:
            return _keep(known, paths)

    current = _read_current(name, paths)
    outcome = _module(stage).run(config, paths, ports)
    receipt = Receipt(
        stage=name,
        config=inputs.settings,
        sources=inputs.sources,
        upstream=inputs.upstream,
        outputs=tuple(digest_file(path, paths.workspace) for path in outcome.outputs),
        code=inputs.code,
        environment=environment_digest(),
        facts=outcome.facts,
    )
    if current is not None and _says_the_same(current, receipt):
        # Only the commit or the environment is new, or damaged outputs were made again.
        archive_manifests(current, paths)
        write_receipt(current, paths.receipt(name), paths.lineage)
        return StageResult(receipt=current, reused=stage.looks_every_time)
    archive_manifests(receipt, paths)
    write_receipt(receipt, paths.receipt(name), paths.lineage)
    return StageResult(receipt=receipt, reused=False)


def reuse_stage(name: str, config: PlatformConfig, paths: Paths) -> StageResult | None:
    """Return what this workspace has of a stage, if inputs, settings, code and outputs still hold.

    Args:
        name: Which stage. Of one that looks every time, what it looks at may still have changed.
        config: All settings.
        paths: Where inputs and outputs are.

    Raises:
        TesseraError: As ``run_stage`` before any work: an input is missing or wrong.
    """
    inputs = _gather_inputs(_stage(name), config, paths)
    remember_place(inputs.sources, paths.root)
    known = _reusable(inputs, paths)
    return None if known is None else _keep(known, paths)


def take_over_upstream(
    name: str, config: PlatformConfig, paths: Paths, lenders: Sequence[Paths]
) -> None:
    """Share what a stage stands on and this workspace has not made, where a lender has made it.

    Args:
        name: The stage that is to run next; what comes before it is shared.
        config: All settings.
        paths: Where outputs go.
        lenders: Other workspaces of the checkout, in this order.
    """
    for stage in _ancestors(_stage(name)):
        if paths.receipt(stage.name).is_file():
            continue
        # Inputs may be terabytes of scenes: look whether there is anything to have first.
        if not any(lender.receipt(stage.name).is_file() for lender in lenders):
            return
        receipt = _take_over(_gather_inputs(stage, config, paths), paths, lenders)
        if receipt is None:
            return
        _keep(receipt, paths)


def _ancestors(stage: Stage) -> list[Stage]:
    """Return all stages that a stage stands on, first things first."""
    names = set(stage.upstream)
    for earlier in reversed(list(STAGES.values())):
        if earlier.name in names:
            names.update(earlier.upstream)
    return [earlier for earlier in STAGES.values() if earlier.name in names]


def outputs_intact(receipt: Receipt, paths: Paths) -> bool:
    """Return whether every output of a receipt is in the workspace, byte for byte."""
    for output in receipt.outputs:
        path = paths.workspace / output.path
        if not path.is_file() or digest_file(path, paths.workspace).sha256 != output.sha256:
            return False
        if path.name == MANIFEST_NAME and find_differences(path.parent, Manifest.read(path.parent)):
            return False
    return True


def archive_manifests(receipt: Receipt, paths: Paths) -> None:
    """Keep each produced manifest in the lineage, where a later run cannot replace it."""
    for output in receipt.outputs:
        archived = paths.lineage / f"{output.sha256}.json"
        if output.path.endswith(".json") and not archived.exists():
            write_atomically(archived, (paths.workspace / output.path).read_bytes())


def _says_the_same(first: Receipt, second: Receipt) -> bool:
    """Return whether two runs had the same inputs and the same outcome."""
    return (first.reuse_key, first.outputs, first.facts) == (
        second.reuse_key,
        second.outputs,
        second.facts,
    )


def _stage(name: str) -> Stage:
    if name not in STAGES:
        raise RecordError(f"{name} is not a stage. {did_you_mean(name, STAGES)}")
    return STAGES[name]


def _module(stage: Stage) -> StageModule:
    return cast(StageModule, importlib.import_module(stage.module))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """All that decides the outputs of a stage before it runs."""

    stage: str
    settings: Mapping[str, Any]
    sources: tuple[FileDigest, ...]
    upstream: Mapping[str, str]
    code: CodeVersion

    @property
    def reuse_key(self) -> str:
        """Digest of it all; a receipt of the same inputs has the same."""
        return reuse_key(self.stage, self.settings, self.sources, self.upstream, self.code.closure)


def _gather_inputs(stage: Stage, config: PlatformConfig, paths: Paths) -> _Inputs:
    """Read settings, sources, upstream receipts and code of a stage as they are now."""
    return _Inputs(
        stage=stage.name,
        settings={section: config.section(section) for section in stage.sections},
        sources=_module(stage).sources(config, paths),
        upstream=_upstream_digests(stage, paths),
        code=code_version(stage.module),
    )


def _keep(receipt: Receipt, paths: Paths) -> StageResult:
    """Return a receipt that holds already as the stage's current one."""
    # The lineage may have been lost; what is still there belongs into it.
    archive_manifests(receipt, paths)
    write_receipt(receipt, paths.receipt(receipt.stage), paths.lineage)
    return StageResult(receipt=receipt, reused=True)


def _reusable(inputs: _Inputs, paths: Paths) -> Receipt | None:
    """Return the current receipt where it was made of these inputs and its outputs are intact."""
    current = _read_current(inputs.stage, paths)
    if current is None or current.reuse_key != inputs.reuse_key:
        return None
    return current if outputs_intact(current, paths) else None


def _take_over(inputs: _Inputs, paths: Paths, lenders: Sequence[Paths]) -> Receipt | None:
    """Share the outputs of a lender that has run with these very inputs; None where none has.

    They are verified here, after sharing: what arrived is what counts.
    """
    for lender in lenders:
        receipt = _read_current(inputs.stage, lender)
        if receipt is None or receipt.reuse_key != inputs.reuse_key:
            continue
        try:
            share_outputs(receipt.outputs, lender.workspace, paths.workspace)
        except RecordError:
            continue  # somebody took its files away, so it has nothing to lend
        if outputs_intact(receipt, paths):
            return receipt
    return None


def _read_current(name: str, paths: Paths) -> Receipt | None:
    """Return the stage's current receipt, or None when there is none that can be read."""
    try:
        return Receipt.read(paths.receipt(name))
    except RecordError:
        return None


def _upstream_digests(stage: Stage, paths: Paths) -> dict[str, str]:
    """Return the digest of each upstream receipt, after checking that they belong together.

    A quality verdict on samples that were replaced since is no verdict on the new ones.
    """
    receipts = {}
    for earlier in stage.upstream:
        path = paths.receipt(earlier)
        if not path.is_file():
            raise RecordError(
                f"{stage.name} needs the receipt of {earlier}, but {path} is missing; "
                f"run `tessera {earlier}` first, with the same --set, or bring the checkout up to "
                "date with `tessera retrain`: what it made with equal settings and code is shared"
            )
        receipts[earlier] = Receipt.read(path)
    digests = {name: receipt.digest for name, receipt in receipts.items()}
    for name, receipt in receipts.items():
        for earlier in receipt.upstream.keys() & digests.keys():
            if receipt.upstream[earlier] != digests[earlier]:
                raise RecordError(
                    f"the receipt of {name} stands on another {earlier} run "
                    f"({receipt.upstream[earlier][:12]}) than the current one "
                    f"({digests[earlier][:12]}); run `tessera {name}` again"
                )
        # Those that look every time say themselves which file is wrong.
        if not stage.looks_every_time and not outputs_intact(receipt, paths):
            raise RecordError(
                f"{stage.name} stands on outputs of {name} that changed after its receipt was "
                f"written; run `tessera {name}` to make them again"
            )
    return digests
