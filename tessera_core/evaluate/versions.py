"""Two versions side by side: the bridge between them, their size and speed, kept by digest."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.dpixel import DPixels, concatenate
from tessera_core.errors import InputError, RecordError
from tessera_core.evaluate.draft import draft_units
from tessera_core.evaluate.gather import places_of
from tessera_core.evaluate.job import benchmarks_of, protocol_digest
from tessera_core.evaluate.sources import read_parts
from tessera_core.records.benchmarks import Benchmark, Source

if TYPE_CHECKING:
    from tessera_core.config import PlatformConfig
    from tessera_core.records.paths import Paths

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
    from tessera_core.evaluate.bridge.compare import compare_models, describe_model, time_ratio
    from tessera_core.evaluate.bridge.stored import read_comparison, write_comparison
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
    benchmark = _task_of_anchors(benchmarks_of(config, paths))
    places = places_of(config, paths)
    pixels, groups, classes = [], [], []
    for part in read_parts(benchmark.data, places.samples, list(places.labels), places.base):
        draft = draft_units(part, benchmark, config.evaluate)
        if not len(draft):
            continue
        pixels.append(part.pixels.take(draft.rows))
        groups.append(draft.group)
        has_classes = benchmark.group.raster is not None
        classes.append(draft.truth if has_classes else np.full(len(draft), -1.0))
    if not pixels:
        raise RecordError(
            f"no d-pixel of {places.samples} is labelled for {benchmark.name}, so there is nothing "
            "to compare two versions on"
        )
    return (
        concatenate(pixels),
        np.concatenate(groups),
        np.nan_to_num(np.concatenate(classes), nan=-1.0).astype(np.int64),
    )


def _task_of_anchors(benchmarks: list[Benchmark]) -> Benchmark:
    """Return the task whose d-pixels serve as anchors: one with fields, of single d-pixels."""
    usable = [
        each for each in benchmarks if each.data.kind == Source.SAMPLES and each.patch_size is None
    ]
    if not usable:
        raise RecordError("no task is about the run's own samples; name one in evaluate.tasks")
    return next((each for each in usable if each.group.raster is not None), usable[0])
