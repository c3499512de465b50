"""Labelled d-pixels and features in which the answer is planted."""

from collections.abc import Sequence

import numpy as np

from tessera_core.evaluate.config import EvaluateConfig
from tessera_core.evaluate.labelled import Labelled
from tessera_core.evaluate.tasks.result import FeatureSets
from tessera_core.testing.pixels import make_pixels

NUM_FEATURES = 6

SETTINGS = EvaluateConfig(
    labels=None,
    seed=5,
    num_folds=3,
    num_neighbours=5,
    max_pixels_per_field=4,
    labels_per_class=(1, 4),
    num_draws=3,
    num_bootstraps=200,
    num_trees=10,
)


def make_labelled(truth_of_group: Sequence[float], *, num_per_group: int = 4) -> Labelled:
    """Return ``num_per_group`` d-pixels of each field, all with the field's truth."""
    num = len(truth_of_group) * num_per_group
    group = np.repeat(np.arange(len(truth_of_group)), num_per_group)
    position = np.arange(num, dtype=np.int32)
    return Labelled(
        tile=np.full(num, "tile"),
        year=np.full(num, 2022, np.int32),
        row=position // 8,
        column=position % 8,
        truth=np.repeat(np.asarray(truth_of_group, np.float64), num_per_group),
        group=group + 100,
        key=np.linspace(0, 1, num, endpoint=False),
        embedding=np.zeros((num, NUM_FEATURES), np.float32),
        pixels=make_pixels(np.full(num, 2), np.zeros(num), np.zeros(num), seed=0),
    )


def separable(labelled: Labelled) -> FeatureSets:
    """Return features of which the encoder's give the truth away and the others' nothing."""
    rng = np.random.default_rng(0)
    _, code = np.unique(labelled.truth, return_inverse=True)
    centres = 8 * np.eye(NUM_FEATURES)[code % NUM_FEATURES]
    shape = (len(labelled), NUM_FEATURES)
    telling = (centres + rng.normal(size=shape)).astype(np.float32)
    return FeatureSets(
        encoder=telling,
        prefixes={},
        encoder_int8=np.round(telling, 1),
        random_encoder=rng.normal(size=shape).astype(np.float32),
        raw=rng.normal(size=shape).astype(np.float32),
    )


def uninformative(labelled: Labelled) -> FeatureSets:
    """Return features that know nothing of the truth."""
    rng = np.random.default_rng(1)
    noise = [rng.normal(size=(len(labelled), NUM_FEATURES)).astype(np.float32) for _ in range(4)]
    return FeatureSets(
        encoder=noise[0],
        prefixes={2: noise[0][:, :2]},
        encoder_int8=noise[1],
        random_encoder=noise[2],
        raw=noise[3],
    )
