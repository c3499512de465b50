"""What an evaluation and a comparison leave on disk, which promotion and pages read."""

from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa

EVALUATION_NAME: Final = "evaluation.json"
COMPARISON_NAME: Final = "comparison.json"
PREDICTIONS_NAME: Final = "predictions.parquet"
REPORT_NAME: Final = "report.html"

SCORED: Final = "scored"
SKIPPED: Final = "skipped"
"""Status of a task in evaluation.json."""

UNSCORED: Final = (
    "unscored: no task could be scored for want of labels, so nobody knows what it is worth"
)
"""What every page and summary says of a version without any score."""

PREDICTIONS: Final = pa.schema(
    [
        pa.field("task", pa.string()),
        pa.field("model", pa.string()),
        pa.field("tile", pa.string()),
        pa.field("year", pa.int32()),
        pa.field("row", pa.int32()),
        pa.field("column", pa.int32()),
        pa.field("label", pa.int32()),
        pa.field("group", pa.int64()),
        pa.field("region", pa.string()),
        pa.field("fold", pa.int32()),
        pa.field("truth", pa.float64()),
        pa.field("predicted", pa.float64()),
    ]
)
"""One row is one unit (and label) of one model of one task; class codes or values.

``group`` is what goes whole into ``fold``: resample it, not units.
"""


def is_unscored(facts: Mapping[str, Any]) -> bool:
    """Return whether the receipt of an evaluation holds no score of any task, for want of labels.

    Args:
        facts: Of the receipt.
    """
    return "headline" in facts and not any(facts["headline"].values())
