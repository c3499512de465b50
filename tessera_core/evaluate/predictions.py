"""Out-of-fold predictions on disk, so that two versions can be compared pixel by pixel."""

from collections.abc import Iterable
from typing import Final

import numpy as np
import pyarrow as pa

from tessera_core.evaluate.tasks.result import TaskResult

PREDICTIONS_NAME: Final = "predictions.parquet"

PREDICTIONS: Final = pa.schema(
    [
        pa.field("task", pa.string()),
        pa.field("model", pa.string()),
        pa.field("tile", pa.string()),
        pa.field("year", pa.int32()),
        pa.field("row", pa.int32()),
        pa.field("column", pa.int32()),
        pa.field("group", pa.int64()),
        pa.field("fold", pa.int32()),
        pa.field("truth", pa.float64()),
        pa.field("predicted", pa.float64()),
    ]
)
"""One row is one d-pixel of one model of one task; class codes or metres.

``group`` is the field or block that goes whole into ``fold``: resample it, not pixels.
"""


def predictions_table(results: Iterable[TaskResult]) -> pa.Table:
    """Return the predictions of all scored tasks, in a fixed order."""
    parts = [
        _model_table(result, model, predicted)
        for result in results
        for model, predicted in sorted(result.predictions.items())
    ]
    return pa.concat_tables([PREDICTIONS.empty_table(), *parts]).combine_chunks()


def _model_table(result: TaskResult, model: str, predicted: np.ndarray) -> pa.Table:
    scored = result.scored
    if scored is None or result.folds is None:
        return PREDICTIONS.empty_table()
    columns = {
        "task": np.full(len(scored), result.task),
        "model": np.full(len(scored), model),
        "tile": scored.tile,
        "year": scored.year,
        "row": scored.row,
        "column": scored.column,
        "group": scored.group,
        "fold": result.folds.astype(np.int32),
        "truth": scored.truth,
        "predicted": predicted.astype(np.float64),
    }
    arrays = [pa.array(columns[part.name], type=part.type) for part in PREDICTIONS]
    return pa.table(arrays, schema=PREDICTIONS)
