"""Is an evaluation bounded in memory? ``evaluation_memory.py NUM``: five tasks of NUM d-pixels.

One task of each kind on made-up embeddings that know some of the truth, all five held at the same
time as an evaluation does: encoder in float32 and int8, all its heads, label curve, intervals. One
line per task: score, seconds, memory of this process after it and at its peak. Reading scenes and
embedding are not part of it; they hold one tile at a time.
"""

import argparse
import resource
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.benchmarks.examples import Examples
from tessera_core.config import PARAMS_NAME, PlatformConfig
from tessera_core.domain.dpixel import DPixels, Series
from tessera_core.domain.embedding import quantise
from tessera_core.domain.scores import Kind
from tessera_core.evaluate.predictions import predictions_table
from tessera_core.model.embed import use_one_thread
from tessera_core.records.benchmarks import Benchmark, read_benchmarks
from tessera_core.scoring.score import score_task

ROOT: Final = Path(__file__).parents[2]
DIM, NUM_CLASSES, CHIP, PIXELS_PER_PATCH = 128, 10, 64, 16
TASKS: Final = ("crop_type", "crop_presence", "canopy_height", "burned", "land_cover")
PER_FIELD: Final = 16
NUM_OBSERVATIONS: Final = 30
"""Of Sentinel-2 per d-pixel: what baselines would read is in memory too."""


def make_series(num: int) -> DPixels:
    """Return d-pixels with Sentinel-2 alone; what is in them is not looked at."""
    total = num * NUM_OBSERVATIONS
    nothing = Series(
        values=np.empty((0, 2), np.int16), day_of_year=np.empty(0, np.uint16),
        offsets=np.zeros(num + 1, np.int64), valid=np.empty(0, np.bool_),
    )  # fmt: skip
    optical = Series(
        values=np.full((total, 10), 1000, np.uint16),
        day_of_year=np.full(total, 180, np.uint16),
        offsets=np.arange(num + 1, dtype=np.int64) * NUM_OBSERVATIONS,
        valid=np.ones(total, np.bool_),
    )
    return DPixels(optical=optical, ascending=nothing, descending=nothing)


def make_embedding(crop: npt.NDArray[np.int64], rng: np.random.Generator) -> Any:
    """Return embeddings (P, D) in which a linear head finds most of the crops."""
    centre = rng.normal(size=(NUM_CLASSES, DIM), scale=0.15).astype(np.float32)
    values = rng.standard_normal((len(crop), DIM), np.float32)
    values += centre[crop]
    return values


def make_task(benchmark: Benchmark, num: int, rng: np.random.Generator) -> Examples:
    """Return the units of one task over ``num`` d-pixels."""
    is_chip, is_patch = benchmark.kind == Kind.SEGMENTATION, benchmark.kind == Kind.MULTILABEL
    field = np.arange(num) // PER_FIELD
    crop = rng.integers(0, NUM_CLASSES, field[-1] + 1)[field]
    unit = field if is_patch else np.arange(num)
    first = np.unique(unit, return_index=True)[1]
    num_units = len(first)
    group = np.arange(num) // CHIP**2 if is_chip else field
    truth: npt.NDArray[np.float64] = (crop[first] + 1).astype(np.float64)
    if is_patch:
        truth = (crop[first, None] == np.arange(NUM_CLASSES)).astype(np.float64)
    elif benchmark.kind == Kind.REGRESSION:
        truth = truth + rng.normal(size=num_units)
    elif benchmark.kind == Kind.CHANGE:
        truth = (crop[first] < 3).astype(np.float64)
    return Examples(
        tile=np.full(num_units, "33UXP"),
        year=np.full(num_units, 2022, np.int32),
        row=(first // 4096).astype(np.int32), column=(first % 4096).astype(np.int32),
        truth=truth, group=group[first], field=field[first],
        region=np.where(group[first] % 2 == 0, "even", "odd"),
        position=first.astype(np.int64), given=np.full(num_units, ""),
        key=rng.random(num_units), unit=unit,
        embedding=make_embedding(crop, rng), pixels=make_series(num),
        chip=np.arange(num).reshape(-1, CHIP, CHIP) if is_chip else None,
        label_codes=tuple(range(1, NUM_CLASSES + 1)) if is_patch else (),
    )  # fmt: skip


def featurise(examples: Examples) -> dict[str, Any]:
    """Return what the heads of the encoder see."""
    rounded = quantise(examples.embedding).dequantise()
    return {"encoder": examples.pool(examples.embedding), "encoder_int8": examples.pool(rounded)}


def gigabytes(now: bool) -> float:
    """Return the memory of this process, now or at its peak."""
    if not now:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    status = Path("/proc/self/status").read_text(encoding="utf-8").split("VmRSS:")[1]
    return int(status.split()[0]) / 2**20


def main() -> None:
    """Score five tasks and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("num", type=int, nargs="?", default=10**6)
    num = parser.parse_args().num // CHIP**2 * CHIP**2
    use_one_thread()
    settings = replace(PlatformConfig.read(ROOT / PARAMS_NAME).evaluate, tasks=None)
    known = {each.name: each for each in read_benchmarks(ROOT / settings.benchmarks, None)}
    rng = np.random.default_rng(0)
    made = {name: make_task(known[name], num, rng) for name in TASKS}
    print(f"{num} d-pixels x {len(made)} tasks made: {gigabytes(now=True):.1f} GB", flush=True)
    results = {}
    for name, examples in made.items():
        began = time.perf_counter()
        results[name] = score_task(
            known[name], examples, featurise, {}, settings, with_baselines=False
        )
        report = results[name].report
        score = report["scores"][report["compared"]][report["metric"]]
        print(
            f"{name}: {report['num_units']} units in {report['num_groups']} groups, "
            f"{report['metric']} {score['mean']:.3f} [{score['low']:.3f}, {score['high']:.3f}], "
            f"{time.perf_counter() - began:.0f} s, {gigabytes(now=True):.1f} GB after it, "
            f"{gigabytes(now=False):.1f} GB at the peak",
            flush=True,
        )
    table = predictions_table(results)
    print(f"{table.num_rows} predictions, {gigabytes(now=False):.1f} GB at the peak")


if __name__ == "__main__":
    main()
