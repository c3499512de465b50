"""Which models a task is scored with: heads on frozen embeddings, beside what needs no encoder.

A model is named ``features/head``. Every table has the encoder in float32 and int8, an untrained
encoder of the same shape, the raw series, and the answer of somebody who knows only the labels.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.benchmarks.config import FULL, EvaluateConfig
from tessera_core.domain.scores import Kind
from tessera_core.scoring.heads.boosting import predict_boosting, predict_boosting_value
from tessera_core.scoring.heads.constant import predict_majority, predict_mean
from tessera_core.scoring.heads.forest import predict_forest, predict_forest_value
from tessera_core.scoring.heads.linear import predict_ridge, predict_standardised_linear
from tessera_core.scoring.heads.mlp import predict_mlp, predict_mlp_value
from tessera_core.scoring.heads.multilabel import (
    predict_multilabel,
    predict_multilabel_forest,
    predict_multilabel_mlp,
)
from tessera_core.scoring.heads.neighbours import predict_knn
from tessera_core.scoring.heads.temporal_cnn import (
    predict_temporal_cnn,
    predict_temporal_cnn_value,
)

Features = Mapping[str, npt.NDArray[Any]]
"""Name -> (U, F), or (U, T, C) for series."""

Head = Callable[[npt.NDArray[Any], Any, npt.NDArray[Any]], Any]
"""(train features, train truth, test features) -> predicted truth."""

Model = tuple[Head, str]
"""A head and the name of its features."""

COMPARED: Final[Mapping[Kind, str]] = {
    Kind.CLASSIFICATION: "encoder/linear",
    Kind.CHANGE: "encoder/linear",
    Kind.MULTILABEL: "encoder/linear",
    Kind.REGRESSION: "encoder/ridge",
    Kind.SEGMENTATION: "encoder/unet",
}
"""The model that versions are compared by: fixed, so that no version chooses its own head."""

MAX_LEARNT: Final = 50_000
"""Units of a fold's training side that a head learns from, drawn where there are more: memory and
time of large tasks are bounded, and a linear probe of 128 values has long settled."""

QUICK_HEADS: Final = frozenset({"linear", "ridge", "forest", "unet"})
"""Heads of the quick set; an answer without features, as ``majority``, is always asked."""

FULL_FEATURES: Final = frozenset({"harmonics", "series"})
"""Features that only the full set sees."""

TRAINED: Final = ("encoder", "encoder_int8")
"""Features of the version itself; prefixes and imported models are named after these."""


def models_of(kind: Kind, features: Features, settings: EvaluateConfig) -> dict[str, Model]:
    """Return the models of a task by name, those of the encoder first.

    Args:
        kind: Not segmentation, whose models see whole chips.
        features: What there is; a model without its features is left out.
        settings: Set of methods, trees, neighbours, seed.
    """
    build = {
        Kind.CLASSIFICATION: _class_models,
        Kind.CHANGE: _class_models,
        Kind.MULTILABEL: _multilabel_models,
        Kind.REGRESSION: _value_models,
    }[kind]
    found = build(features, settings)
    return {
        name: model
        for name, model in found.items()
        if model[1] in features and is_asked(name, settings)
    }


def is_asked(model: str, settings: EvaluateConfig) -> bool:
    """Return whether a model belongs to the chosen set of methods."""
    features, has_features, head = model.partition("/")
    is_quick = head in QUICK_HEADS and features not in FULL_FEATURES
    return settings.methods == FULL or not has_features or is_quick


def _class_models(features: Features, settings: EvaluateConfig) -> dict[str, Model]:
    seed = settings.seed
    knn: Head = partial(predict_knn, num_neighbours=settings.num_neighbours)
    forest: Head = partial(predict_forest, num_trees=settings.num_trees, seed=seed)
    return {
        **_with_every_encoder("linear", predict_standardised_linear, features),
        "encoder/knn": (knn, "encoder"),
        "encoder/mlp": (partial(predict_mlp, seed=seed), "encoder"),
        "random_encoder/knn": (knn, "random_encoder"),
        "raw/linear": (predict_standardised_linear, "raw"),
        "raw/forest": (forest, "raw"),
        "harmonics/forest": (forest, "harmonics"),
        "harmonics/boosting": (partial(predict_boosting, seed=seed), "harmonics"),
        "series/temporal_cnn": (partial(predict_temporal_cnn, seed=seed), "series"),
        "majority": (predict_majority, "raw"),
    }


def _value_models(features: Features, settings: EvaluateConfig) -> dict[str, Model]:
    seed = settings.seed
    forest: Head = partial(predict_forest_value, num_trees=settings.num_trees, seed=seed)
    return {
        **_with_every_encoder("ridge", predict_ridge, features),
        "encoder/mlp": (partial(predict_mlp_value, seed=seed), "encoder"),
        "raw/ridge": (predict_ridge, "raw"),
        "raw/forest": (forest, "raw"),
        "harmonics/forest": (forest, "harmonics"),
        "harmonics/boosting": (partial(predict_boosting_value, seed=seed), "harmonics"),
        "series/temporal_cnn": (partial(predict_temporal_cnn_value, seed=seed), "series"),
        "mean": (predict_mean, "raw"),
    }


def _multilabel_models(features: Features, settings: EvaluateConfig) -> dict[str, Model]:
    forest: Head = partial(
        predict_multilabel_forest, num_trees=settings.num_trees, seed=settings.seed
    )
    return {
        **_with_every_encoder("linear", predict_multilabel, features),
        "encoder/mlp": (partial(predict_multilabel_mlp, seed=settings.seed), "encoder"),
        "raw/linear": (predict_multilabel, "raw"),
        "raw/forest": (forest, "raw"),
        "harmonics/forest": (forest, "harmonics"),
        "majority": (predict_majority_labels, "raw"),
    }


def predict_majority_labels(
    train: npt.NDArray[Any], truth: npt.NDArray[np.int64], test: npt.NDArray[Any]
) -> npt.NDArray[np.int64]:
    """Return, for every unit, the labels that most training units have, (M, L)."""
    common = (truth.mean(axis=0) > 0.5).astype(np.int64)
    return np.tile(common, (len(test), 1))


def _with_every_encoder(head_name: str, head: Head, features: Features) -> dict[str, Model]:
    """Return a head on each set of embeddings: own, int8, prefixes, imported, untrained."""
    encoders = [name for name in features if is_embedding(name)]
    return {f"{name}/{head_name}": (head, name) for name in encoders}


def is_embedding(name: str) -> bool:
    """Return whether features of this name come out of an encoder."""
    return name.startswith(("encoder", "random_encoder", "released"))
