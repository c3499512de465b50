"""Two versions side by side: the bridge between them, their size and speed, kept by digest."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.benchmarks.gather import places_of
from tessera_core.benchmarks.sources import Part, read_parts
from tessera_core.benchmarks.units import BLOCK_SIZE_M, draft_units, random_keys, smallest_keys
from tessera_core.domain.dpixel import DPixels, concatenate
from tessera_core.domain.grid import block_ids
from tessera_core.errors import InputError, RecordError
from tessera_core.evaluate.job import benchmarks_of, protocol_digest
from tessera_core.records.benchmarks import Benchmark, DataSource, Source

if TYPE_CHECKING:
    from tessera_core.benchmarks.config import EvaluateConfig
    from tessera_core.config import PlatformConfig
    from tessera_core.records.paths import Paths

SAMPLES: Final = DataSource(kind=Source.SAMPLES)
UNKNOWN: Final = "unknown"
"""Verdict where there are too few anchors for a bridge."""


def compare_versions(
    champion_folder: Path, challenger_folder: Path, config: "PlatformConfig", paths: "Paths"
) -> Path:
    """Compare two models and return the folder of the comparison, which may have been there.

    Args:
        champion_folder: Artifact of the version that is served.
        challenger_folder: Artifact of the version that may follow it.
        config: Settings of evaluation.
        paths: Where samples are, and where the comparison goes.

    Raises:
        RecordError: There are no samples to compare on.
    """
    from tessera_core.compare.bridge.compare import compare_models, describe_model, time_ratio
    from tessera_core.compare.bridge.stored import read_comparison, write_comparison
    from tessera_core.model.artifact import best_device, load_artifact
    from tessera_core.model.embed import use_one_thread

    champion = load_artifact(champion_folder, best_device())
    challenger = load_artifact(challenger_folder, best_device())
    protocol = protocol_digest(config, paths)
    folder = paths.comparison_of(champion.digest, challenger.digest, protocol)
    try:
        read_comparison(folder)
    except RecordError:
        use_one_thread()
        pixels, group, classes = _anchors(config, paths)
        try:
            comparison, bridge = compare_models(
                champion, challenger, pixels, group, classes, config.evaluate.seed
            )
        except InputError as error:
            unknown: dict[str, Any] = {"verdict": UNKNOWN, "error": None, "reason": str(error)}
            bridge = None
            comparison = {
                "champion": describe_model(champion),
                "challenger": describe_model(challenger),
                "bridge": unknown,
                "time_ratio": time_ratio(champion, challenger, pixels),
            }
        write_comparison(folder, {**comparison, "protocol_digest": protocol}, bridge)
    return folder


def _anchors(
    config: "PlatformConfig", paths: "Paths"
) -> tuple[DPixels, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return d-pixels of the run's samples with their group and class, -1 = none."""
    places = places_of(config, paths)
    # A task that nothing is labelled for is skipped by the evaluation and serves nobody here.
    for benchmark in dict.fromkeys([_task_of_anchors(benchmarks_of(config, paths)), None]):
        found = [
            (part.pixels.take(rows), group, label)
            for part in read_parts(SAMPLES, places.samples, list(places.labels), places.base)
            for rows, group, label in [_anchors_of(part, benchmark, config.evaluate)]
            if len(rows)
        ]
        if found:
            pixels, groups, classes = zip(*found, strict=True)
            label = np.nan_to_num(np.concatenate(classes), nan=-1.0).astype(np.int64)
            return concatenate(list(pixels)), np.concatenate(groups), label
    raise RecordError(f"{paths.samples} holds no d-pixel, so two versions cannot be compared there")


def _anchors_of(
    part: Part, benchmark: Benchmark | None, settings: "EvaluateConfig"
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return rows of a part with their group and class, (P,) each; class -1 = none.

    Without a task about single d-pixels of the samples, blocks stand in for fields.
    """
    if benchmark is None:
        block = block_ids(part.epsg, part.x, part.y, BLOCK_SIZE_M)
        key = random_keys(part, settings.seed)
        rows = smallest_keys(block, key, settings.max_pixels_per_field)
        return rows, block[rows], np.full(len(rows), -1.0)
    draft = draft_units(part, benchmark, settings)
    has_classes = benchmark.group.raster is not None
    return draft.rows, draft.group, draft.truth if has_classes else np.full(len(draft), -1.0)


def _task_of_anchors(benchmarks: list[Benchmark]) -> Benchmark | None:
    """Return the task whose d-pixels serve as anchors: one with fields, of single d-pixels."""
    usable = [
        each for each in benchmarks if each.data.kind == Source.SAMPLES and each.patch_size is None
    ]
    return next(
        (each for each in usable if each.group.raster is not None), next(iter(usable), None)
    )
