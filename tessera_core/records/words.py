"""What models, scores and differences are called on pages and figures."""

import re
from typing import Final

from tessera_core.domain.scores import is_share

FEATURES: Final = {
    "encoder": "trained encoder",
    "encoder_int8": "trained encoder, int8",
    "random_encoder": "untrained encoder",
    "raw": "monthly band values",
    "harmonics": "harmonics of the series",
    "series": "raw series",
}
HEADS: Final = {
    "linear": "linear probe",
    "ridge": "ridge regression",
    "knn": "nearest neighbours",
    "mlp": "3-layer MLP",
    "few_shot": "few-shot head",
    "forest": "random forest",
    "boosting": "gradient boosting",
    "temporal_cnn": "temporal CNN",
    "context": "5 x 5 context",
    "unet": "U-Net",
}
PLAIN: Final = {"majority": "most frequent class", "mean": "mean of the training values"}
MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
PREFIX: Final = re.compile(r"encoder_(\d+)")

SIMULATED: Final = "simulated scenes: proves machinery, not science"


def model_label(name: str) -> str:
    """Return a model's name for people.

    >>> model_label("encoder_16/linear"), model_label("raw/forest")
    ('trained encoder, first 16 values, linear probe', 'monthly band values, random forest')
    >>> model_label("released_v2/ridge")
    'released v2, ridge regression'
    """
    if name in PLAIN:
        return PLAIN[name]
    features, _, head = name.partition("/")
    if found := PREFIX.fullmatch(features):
        shown = f"trained encoder, first {found[1]} values"
    elif features.startswith("released_"):
        shown = f"released {features.removeprefix('released_')}"
    else:
        shown = FEATURES.get(features, features)
    return f"{shown}, {HEADS.get(head, head)}"


def shown(value: float, metric: str) -> str:
    """Return a score as text.

    >>> shown(0.8125, "accuracy"), shown(0.5, "r2")
    ('81.2 %', '0.50')
    """
    return f"{100 * value:.1f} %" if is_share(metric) else f"{value:.2f}"


def signed(value: float, metric: str) -> str:
    """Return a difference as text; shares in percentage points.

    >>> signed(0.031, "accuracy"), signed(-0.2, "r2")
    ('+3.1 points', '-0.20')
    """
    return f"{100 * value:+.1f} points" if is_share(metric) else f"{value:+.2f}"
