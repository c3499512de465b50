"""The groups that one version answers otherwise than another: where to look first."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tessera_core.domain.scores import Kind
from tessera_core.register.evidence import compared_rows

MOST: Final = 12
"""Groups that are shown."""


def changed_groups(new: Path, old: Path, most: int = MOST) -> list[dict[str, Any]]:
    """Return the groups whose score changed most between two evaluations, largest change first.

    A group's score is the share of its units that are right; for values it is the mean absolute
    error, negated and over the deviation of the task's truth, so that more is better and tasks
    in other units can stand in one list.

    Args:
        new: Folder of the newer version's evaluation.
        old: Of the older one's, on the same questions.
        most: Groups to return; those that did not change are left out.

    Returns:
        Rows of task, group, tile, row, column (of the group's first unit), num_units, old, new,
        change.

    Raises:
        RecordError: An evaluation was changed since it was sealed.
    """
    found = [
        row
        for name, kind, mine, theirs in compared_rows(new, old)
        for row in _of_task(name, kind, mine, theirs)
    ]
    found.sort(key=lambda row: (-abs(row["change"]), row["task"], row["group"]))
    return found[:most]


def _of_task(
    name: str, kind: Kind, own: dict[str, npt.NDArray[Any]], theirs: dict[str, npt.NDArray[Any]]
) -> list[dict[str, Any]]:
    groups, first, group, counts = np.unique(
        own["group"], return_index=True, return_inverse=True, return_counts=True
    )
    before, after = (
        np.bincount(group, _goodness(kind, rows), len(groups)) / counts for rows in (theirs, own)
    )
    return [
        {
            "task": name,
            "group": int(groups[one]),
            "tile": str(own["tile"][first[one]]),
            "row": int(own["row"][first[one]]),
            "column": int(own["column"][first[one]]),
            "num_units": int(counts[one]),
            "old": float(before[one]),
            "new": float(after[one]),
            "change": float(after[one] - before[one]),
        }
        for one in np.flatnonzero(before != after)
    ]


def _goodness(kind: Kind, rows: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
    """Return how good each answer is, (N,); more is better."""
    truth, predicted = rows["truth"], rows["predicted"]
    if kind != Kind.REGRESSION:
        right: npt.NDArray[np.float64] = (truth == predicted).astype(np.float64)
        return right
    error: npt.NDArray[np.float64] = -np.abs(truth - predicted) / (truth.std() or 1.0)
    return error
