"""Placeholder until the real one lands."""

from enum import StrEnum


class Kind(StrEnum):
    """What a task predicts."""

    CLASSIFICATION = "classification"
    MULTILABEL = "multilabel"
    REGRESSION = "regression"
    SEGMENTATION = "segmentation"
    CHANGE = "change"


def require_metrics(kind: Kind, metrics: tuple[str, ...], where: str) -> None:
    """Refuse metrics that do not exist."""
