"""A grid of settings: what a sweep tries, checked before anything runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

from flows.context import Context, load_context
from tessera_core.errors import ConfigError, InputError
from tessera_core.records.files import digest_json

SECTION: Final = "pretrain"
"""The one section that may be swept: whatever stands before it decides the data, and scores on
other data, or by another yardstick, cannot be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One point of the grid."""

    values: Mapping[str, str]
    """Setting -> value, as the user wrote it."""

    refusal: str
    """Why the settings refuse this point; empty for one that can run."""

    @property
    def overrides(self) -> list[str]:
        """The point as ``section.name=value``."""
        return [f"{name}={value}" for name, value in self.values.items()]

    @property
    def label(self) -> str:
        """The point in words: the one section goes without saying."""
        return " ".join(f"{name.partition('.')[2]}={value}" for name, value in self.values.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A sweep that may start."""

    base: Context
    """The run that every trial deviates from; ingest, quality and shuffle happen there."""

    overrides: tuple[str, ...]
    """What makes the base deviate from ``params.yaml``."""

    grid: Mapping[str, tuple[str, ...]]
    """Setting -> values, as the user wrote them."""

    trials: tuple[Trial, ...]
    """Every point of the grid, those that are refused included; one at least can run."""

    @property
    def key(self) -> str:
        """Identity of the sweep: the base's settings and the grid, in whatever order it came."""
        grid = {name: sorted(values) for name, values in self.grid.items()}
        return digest_json({"base": self.base.config.to_dict(), "grid": grid})


def plan_sweep(root: str | Path, grid: Sequence[str], overrides: Sequence[str] = ()) -> Plan:
    """Check a sweep and return its plan.

    Args:
        root: The checkout.
        grid: Settings with their values, each as ``section.name=value,value``.
        overrides: Settings of all trials as ``section.name=value``.

    Raises:
        InputError: The grid is not a grid, sweeps another section, or names a point twice.
        ConfigError: The settings of all trials are refused.
    """
    axes = parse_grid(grid)
    fixed = {override.partition("=")[0].strip() for override in overrides}
    if both := sorted(fixed & axes.keys()):
        raise InputError(f"{both[0]} stands in --grid and in --set; leave one of them out")
    base = load_context(root, overrides)
    trials, known, refused = [], dict[str, str](), list[ConfigError]()
    for point in product(*axes.values()):
        values = dict(zip(axes, point, strict=True))
        trial = Trial(values=values, refusal="")
        try:
            config = load_context(root, [*overrides, *trial.overrides]).config
        except ConfigError as error:
            refused.append(error)
            trials.append(Trial(values=values, refusal=str(error)))
            continue
        if config.digest in known:
            raise InputError(f"--grid names one trial twice: {known[config.digest]}, {trial.label}")
        if not config.pretrain.probe_every:
            raise InputError(
                "trials are compared by their probe score, but pretrain.probe_every is 0 "
                f"for {trial.label}; set it to the steps between two probes"
            )
        known[config.digest] = trial.label
        trials.append(trial)
    if not known:
        raise refused[0]
    return Plan(base=base, overrides=tuple(overrides), grid=axes, trials=tuple(trials))


def require_concurrency(concurrency: int) -> None:
    """Refuse a number of processes that is none; raises InputError."""
    if concurrency < 1:
        raise InputError(f"--concurrency is {concurrency}, expected 1 or more")


def parse_grid(grid: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return setting -> values of ``section.name=value,value``; values stay as written.

    Raises:
        InputError: It is not of that form, or another section than ``pretrain`` is swept.
    """
    axes: dict[str, tuple[str, ...]] = {}
    for axis in grid:
        key, separator, text = axis.partition("=")
        section, dot, name = key.strip().partition(".")
        values = split_values(text)
        if not (separator and dot and name and values):
            raise InputError(f"--grid {axis!r} is not of the form section.name=value,value")
        if section != SECTION:
            raise InputError(
                f"--grid {section}.{name}: only {SECTION}.* can be swept. Trials share their data "
                "and the yardstick of their scores, so that these compare; set other sections for "
                f"all trials with --set {section}.{name}=VALUE"
            )
        if f"{section}.{name}" in axes:
            raise InputError(f"--grid names {section}.{name} twice; give all its values at once")
        axes[f"{section}.{name}"] = values
    if not axes:
        raise InputError(
            f"a sweep needs a grid, as in --grid {SECTION}.peak_lr=0.005,0.01; see --help"
        )
    return axes


def split_values(text: str) -> tuple[str, ...]:
    """Return the values between commas, where a comma in brackets or quotes parts nothing.

    Raises:
        InputError: It is not YAML.
    """
    import yaml

    listed = f"[{text}]"
    try:
        node: Any = yaml.compose(listed, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise InputError(f"--grid: {text!r} is not a list of values: {error}") from error
    return tuple(listed[item.start_mark.index : item.end_mark.index].strip() for item in node.value)
