"""The field's trainer, clean-room: what ``bench_train`` measures against."""

from tests.bench.faithful_training.loader import PLACES, build_loader, views_of, write_views
from tests.bench.faithful_training.trainer import (
    BASE_RATE,
    MAX_GRADIENT_NORM,
    MIX_WEIGHT,
    REDUNDANCY_WEIGHT,
    WEIGHT_DECAY,
    Mix,
    Trainer,
    View,
    build_projector,
    draw_mix,
    parameter_groups,
)

__all__ = [
    "BASE_RATE",
    "MAX_GRADIENT_NORM",
    "MIX_WEIGHT",
    "PLACES",
    "REDUNDANCY_WEIGHT",
    "WEIGHT_DECAY",
    "Mix",
    "Trainer",
    "View",
    "build_loader",
    "build_projector",
    "draw_mix",
    "parameter_groups",
    "views_of",
    "write_views",
]
