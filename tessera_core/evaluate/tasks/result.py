"""What a task takes and what it hands back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.evaluate.labelled import Labelled

SCORED: Final = "scored"
SKIPPED: Final = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureSets:
    """What the models of a task see of the same N d-pixels."""

    encoder: npt.NDArray[np.float32]
    """(N, D), embeddings of the trained encoder."""

    encoder_int8: npt.NDArray[np.float32]
    """(N, D), the same after int8 quantisation, dequantised."""

    prefixes: Mapping[int, npt.NDArray[np.float32]]
    """Width -> (N, width), the first values of the embeddings, for a model that orders them."""

    random_encoder: npt.NDArray[np.float32]
    """(N, D), embeddings of an untrained encoder of the same shape."""

    raw: npt.NDArray[np.float32]
    """(N, 168), monthly values of the bands."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TaskResult:
    """One task of one evaluation."""

    task: str
    """Name, as in evaluation.json."""

    report: Mapping[str, Any]
    """The task's part of evaluation.json; plain JSON values."""

    scored: Labelled | None = None
    """The N d-pixels that were scored."""

    folds: npt.NDArray[np.int64] | None = None
    """(N,), the fold in which each was held out."""

    predictions: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    """Model -> (N,) out-of-fold predictions, class code or metres."""

    @property
    def is_scored(self) -> bool:
        """Whether there are scores."""
        return bool(self.report["status"] == SCORED)
