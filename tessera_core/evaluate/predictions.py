"""Out-of-fold predictions as rows, so that two versions can be compared unit by unit."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tessera_core.records.evaluation import PREDICTIONS
from tessera_core.scoring.estimates import is_tested
from tessera_core.scoring.score import TaskResult


def predictions_table(results: Mapping[str, TaskResult]) -> pa.Table:
    """Return the predictions of all scored tasks, in a fixed order; tested units only."""
    parts = [
        _model_table(name, result, model, predicted)
        for name, result in sorted(results.items())
        for model, predicted in sorted(result.predictions.items())
    ]
    return pa.concat_tables([PREDICTIONS.empty_table(), *parts]).combine_chunks()


def _model_table(
    task: str, result: TaskResult, model: str, predicted: npt.NDArray[np.float64]
) -> pa.Table:
    scored, fold, truth = result.scored, result.fold, result.truth
    if scored is None or fold is None or truth is None:
        return PREDICTIONS.empty_table()
    rows = np.flatnonzero(is_tested(predicted) & is_tested(truth))
    num_labels = truth.shape[1] if truth.ndim > 1 else 1
    label = np.tile(np.arange(num_labels, dtype=np.int32), len(rows))
    rows = np.repeat(rows, num_labels)
    pick = (rows, label) if truth.ndim > 1 else (rows,)
    columns = {
        "task": np.full(len(rows), task),
        "model": np.full(len(rows), model),
        "tile": scored.tile[rows],
        "year": scored.year[rows],
        "row": scored.row[rows],
        "column": scored.column[rows],
        "label": label,
        "group": result.group[rows],
        "region": scored.region[rows],
        "fold": fold[rows].astype(np.int32),
        "truth": truth[pick],
        "predicted": predicted[pick].astype(np.float64),
    }
    arrays = [pa.array(columns[part.name], type=part.type) for part in PREDICTIONS]
    return pa.table(arrays, schema=PREDICTIONS)
