"""Which change made the newer version better? Train the older one with one change at a time.

The changes between two versions fall into groups: the settings of pretrain, those of shuffle, the
samples (with the settings of ingest), and the code. Each *variant* is the older version with one
group of the newer one; what a group does not touch is laid out by digest, not made again.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tessera_core.errors import RecordError
from tessera_core.lineage.replay.chain import Recorded
from tessera_core.lineage.replay.environment import changed_versions
from tessera_core.lineage.replay.job import code_of, open_replay, run_again
from tessera_core.lineage.replay.layout import Fetch, lay_descriptions, lay_outputs, lay_sources
from tessera_core.records.paths import Paths
from tessera_core.records.receipt import Receipt, read_versions

TRAINED: Final = ("ingest", "quality", "shuffle", "pretrain")
"""Stages that make a model, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The older version with one group of changes."""

    name: str
    """The group: ``config pretrain``, ``config shuffle``, ``data``, ``code``."""

    stages: Mapping[str, Receipt]
    """Stage -> what it is to run with: settings, sources and code, from either version."""

    first: str
    """First stage that has to run; those before it are as recorded."""


def plan_variants(old: Recorded, new: Recorded) -> list[Variant]:
    """Return a variant for each group in which two versions differ."""
    before, after = ({stage: one.stages[stage] for stage in TRAINED} for one in (old, new))
    variants = []
    for stage in ("pretrain", "shuffle"):
        config = _taken(after[stage].config, before[stage].config)
        if config != before[stage].config:
            mixed = replace(before[stage], config=config)
            variants.append(
                Variant(name=f"config {stage}", stages={**before, stage: mixed}, first=stage)
            )
    if before["ingest"].outputs != after["ingest"].outputs and not _only_code(before, after):
        stages = {stage: after[stage] for stage in ("ingest", "quality")}
        # Labels of the probe lie beside the scenes.
        labels = replace(before["pretrain"], sources=after["pretrain"].sources)
        mixed_stages = {**before, **stages, "pretrain": labels}
        variants.append(Variant(name="data", stages=mixed_stages, first="shuffle"))
    others = [s for s in TRAINED if before[s].code.closure != after[s].code.closure]
    if others:
        coded = {
            stage: replace(
                before[stage],
                code=after[stage].code,
                config=_taken(before[stage].config, after[stage].config),
            )
            for stage in TRAINED
        }
        variants.append(Variant(name="code", stages=coded, first=others[0]))
    return variants


def environment_change(old: Recorded, new: Recorded, paths: Paths) -> str:
    """Return which package versions differ between two trainings; empty where none do."""
    digests = [one.stages["pretrain"].environment for one in (old, new)]
    if digests[0] == digests[1]:
        return ""
    versions = [read_versions(digest, paths.lineage) for digest in digests]
    if versions[0] is None or versions[1] is None:
        return f"{digests[0][:12]} -> {digests[1][:12]}"
    return ", ".join(changed_versions(versions[0], versions[1]))


@contextmanager
def trained(variant: Variant, old: Recorded, paths: Paths, fetch: Fetch) -> Iterator[Path]:
    """Train a variant and yield the folder of its model, which is gone afterwards.

    Args:
        variant: What to train.
        old: The older version.
        paths: The checkout.
        fetch: Brings back from a remote what the checkout has lost.

    Raises:
        RecordError: An input or the code is gone, or a stage refused what it was given.
    """
    with open_replay(old, paths, fetch=fetch, present_only=False) as replay:
        start = TRAINED.index(variant.first)
        read = {earlier for one in TRAINED[start:] for earlier in variant.stages[one].upstream}
        for stage in TRAINED[:start]:
            # What nobody reads again need not be there.
            if stage in read:
                lay_outputs(replay.contents, variant.stages[stage], replay.paths)
        for stage in TRAINED[start:]:
            receipt = variant.stages[stage]
            lay_sources(replay.contents, receipt, replay.paths, replay.scratch / "root")
            if stage == "ingest":
                lay_descriptions(replay.contents, receipt, replay.paths)
            code = code_of(replay, receipt)
            if code.closure != receipt.code.closure:
                raise RecordError(f"the code of {stage} cannot be restored")
            if reason := run_again(replay, receipt, variant.stages.values(), code):
                raise RecordError(reason)
        yield replay.paths.model


def _taken(values: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return one version's settings, as the other version's code knows them.

    A setting that only the newer code has is part of the change of code.
    """
    return {
        section: {name: values.get(section, {}).get(name, own) for name, own in settings.items()}
        for section, settings in known.items()
    }


def _only_code(before: Mapping[str, Receipt], after: Mapping[str, Receipt]) -> bool:
    """Return whether samples differ though scenes and settings are the same: the code did it."""
    one, other = before["ingest"], after["ingest"]
    return one.sources == other.sources and one.config == other.config
