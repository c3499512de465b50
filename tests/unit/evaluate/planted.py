"""Examples and features in which the answer is planted."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from tessera_core.benchmarks.config import EvaluateConfig
from tessera_core.benchmarks.examples import Examples
from tessera_core.domain.scores import Kind
from tessera_core.records.benchmarks import Benchmark, DataSource, Group, Role, Source, Truth
from tessera_core.scoring.score import score_task
from tessera_core.testing.pixels import make_pixels

NUM_FEATURES = 6

SETTINGS = EvaluateConfig(
    benchmarks="data/benchmarks",
    tasks=None,
    benchmark_data="data/external",
    references=(),
    labels=None,
    methods="full",
    seed=5,
    num_folds=3,
    num_neighbours=5,
    max_pixels_per_field=4,
    labels_per_class=(1, 4),
    label_shares=(0.1, 1.0),
    num_draws=3,
    num_bootstraps=200,
    num_trees=10,
)

METRICS = {
    Kind.CLASSIFICATION: ("accuracy", "balanced_accuracy", "macro_f1"),
    Kind.CHANGE: ("balanced_accuracy", "f1"),
    Kind.REGRESSION: ("r2", "global_rmse"),
    Kind.MULTILABEL: ("macro_f1", "micro_f1"),
    Kind.SEGMENTATION: ("mean_iou", "accuracy"),
}


def make_benchmark(kind: Kind = Kind.CLASSIFICATION, **changes: Any) -> Benchmark:
    """Return a task on the run's own samples."""
    is_patch = kind in (Kind.MULTILABEL, Kind.SEGMENTATION)
    values: dict[str, Any] = {
        "name": "crop_type",
        "title": "Crop type",
        "kind": kind,
        "role": Role.REPORT,
        "data": DataSource(kind=Source.SAMPLES),
        "truth": Truth(raster="crop_type.tif", above=0.0 if kind == Kind.CHANGE else None),
        "group": Group(raster="parcel_id.tif"),
        "metrics": METRICS[kind],
        "margin": 0.02,
        "patch_size": 4 if is_patch else None,
    }
    return Benchmark(**{**values, **changes})


def make_examples(
    truth_of_group: Sequence[float], *, num_per_group: int = 4, **changes: Any
) -> Examples:
    """Return ``num_per_group`` d-pixels of each field, all with the field's truth."""
    num = len(truth_of_group) * num_per_group
    group = np.repeat(np.arange(len(truth_of_group)), num_per_group)
    place = np.arange(num)
    values: dict[str, Any] = {
        "tile": np.full(num, "tile"),
        "year": np.full(num, 2022, np.int32),
        "row": (place // 8).astype(np.int32),
        "column": (place % 8).astype(np.int32),
        "truth": np.repeat(np.asarray(truth_of_group, np.float64), num_per_group),
        "group": group + 100,
        "field": group + 100,
        "region": np.where(group % 2 == 0, "even", "odd"),
        "position": place,
        "given": np.full(num, ""),
        "key": np.linspace(0, 1, num, endpoint=False),
        "unit": place,
        "embedding": np.zeros((num, NUM_FEATURES), np.float32),
        "pixels": make_pixels(np.full(num, 2), np.zeros(num), np.zeros(num), seed=0),
    }
    return Examples(**{**values, **changes})


def separable(examples: Examples) -> dict[str, Any]:
    """Return features of which the encoder's give the truth away and the others' nothing."""
    rng = np.random.default_rng(0)
    _, code = np.unique(examples.truth, return_inverse=True)
    shape = (len(examples), NUM_FEATURES)
    centres = 8 * np.eye(NUM_FEATURES)[code.reshape(-1)[: len(examples)] % NUM_FEATURES]
    telling = (centres + rng.normal(size=shape)).astype(np.float32)
    return {"encoder": telling, "encoder_int8": np.round(telling, 1), **_noise(rng, shape)}


def uninformative(examples: Examples) -> dict[str, Any]:
    """Return features that know nothing of the truth."""
    rng = np.random.default_rng(1)
    shape = (len(examples), NUM_FEATURES)
    noise = rng.normal(size=shape).astype(np.float32)
    embeddings = {"encoder": noise, "encoder_int8": noise, "encoder_2": noise[:, :2]}
    return {**embeddings, **_noise(rng, shape)}


def _noise(rng: np.random.Generator, shape: tuple[int, int]) -> dict[str, Any]:
    """Return what the baselines see: chance alone. Networks on series have tests elsewhere."""
    return {
        name: rng.normal(size=shape).astype(np.float32)
        for name in ("random_encoder", "raw", "harmonics")
    }


def made_evaluation(
    *, num_fields: int = 6, is_simulated: bool = False, legend: dict[int, str] | None = None
) -> dict[str, Any]:
    """Return the content of evaluation.json: crops that are told apart, heights that are absent."""
    crops = score_task(
        make_benchmark(), make_examples([1, 2] * num_fields), separable, legend or {}, SETTINGS
    )
    heights = make_benchmark(Kind.REGRESSION, name="canopy_height", title="Canopy height")
    skipped = score_task(heights, None, separable, {}, SETTINGS)
    return {
        "simulated": is_simulated,
        "model_digest": "ab" * 32,
        "labels_digest": "cd" * 32,
        "protocol_digest": "ef" * 32,
        "with_baselines": True,
        "protocol": asdict(SETTINGS),
        "tasks": {"crop_type": crops.report, "canopy_height": skipped.report},
        "diagnostics": {},
    }
