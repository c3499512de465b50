"""Settings of the evaluate stage."""

from dataclasses import dataclass
from typing import Final

from tessera_core.errors import ConfigError, did_you_mean

QUICK: Final = "quick"
FULL: Final = "full"
METHODS: Final = (QUICK, FULL)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """How a trained encoder is scored."""

    benchmarks: str
    """Folder of benchmark definitions, relative to the root."""

    tasks: tuple[str, ...] | None
    """Names of report tasks; None = all of them, and those without data are skipped."""

    benchmark_data: str
    """Folder, relative to the root, that the paths in definitions are relative to."""

    references: tuple[str, ...]
    """Artifact folders of other models to score beside the trained one, as in data/imported."""

    labels: str | None
    """Folder of label rasters relative to the root; None = look beside the source."""

    methods: str
    """``quick``: the encoder's own head, the untrained encoder, the constant answer, linear models
    and forests of band values; on simulated scenes only, real ones always get the full set.
    ``full``: all heads and features, curves over shares, and transfer. A method scores the same
    in both."""

    seed: int
    """Chooses folds, label draws, bootstrap and the random encoder."""

    num_folds: int
    """Cross-validation folds; fields go whole to one fold."""

    num_neighbours: int
    """k of the kNN probe."""

    max_pixels_per_field: int
    """D-pixels used of each field, so that large fields do not drown small ones."""

    labels_per_class: tuple[int, ...]
    """Label counts of the label-efficiency curve, ascending."""

    label_shares: tuple[float, ...]
    """Shares of all labels, ascending, 0..1, of the second curve."""

    num_draws: int
    """Random label draws per point of the curve."""

    num_bootstraps: int
    """Bootstrap resamples of fields behind each interval."""

    num_trees: int
    """Trees of the raw-series random forest."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.methods not in METHODS:
            raise ConfigError(
                f"evaluate.methods is {self.methods!r}. {did_you_mean(self.methods, METHODS)}"
            )
        for name, low in (
            ("num_folds", 2), ("num_neighbours", 1), ("max_pixels_per_field", 1),
            ("num_draws", 2), ("num_bootstraps", 100), ("num_trees", 1),
        ):  # fmt: skip
            if getattr(self, name) < low:
                raise ConfigError(
                    f"evaluate.{name} is {getattr(self, name)}, expected {low} or more"
                )
        counts = self.labels_per_class
        if not counts or min(counts) < 1 or sorted(set(counts)) != list(counts):
            raise ConfigError(
                f"evaluate.labels_per_class is {list(counts)}, expected ascending counts from 1"
            )
        shares = self.label_shares
        if not shares or shares[0] <= 0 or shares[-1] > 1 or sorted(set(shares)) != list(shares):
            raise ConfigError(
                f"evaluate.label_shares is {list(shares)}, expected ascending shares above 0, up "
                "to 1"
            )
