"""Benchmark tasks as declared data: one YAML file in ``data/benchmarks/`` is one task.

A definition says where d-pixels and truth are, what goes whole to one side of a split, how well a
version has to do, and whether the task may choose a model or report on one: never both.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from tessera_core.domain.bands import TILE_RESOLUTION_M
from tessera_core.domain.scores import Kind, require_metrics
from tessera_core.errors import ConfigError, did_you_mean
from tessera_core.records.typed import build, read_yaml

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""What can be a file, a metric's first part and an HTML anchor alike."""

REGION_OF_TILE: Final = "tile"
MIN_PATCH: Final = 4


class Role(StrEnum):
    """What a task is for. What chose a model must not also praise it."""

    SELECTION = "selection"
    REPORT = "report"


class Source(StrEnum):
    """Where a task's d-pixels are."""

    SAMPLES = "samples"
    """The samples of the run itself, with label rasters beside its scenes."""

    TILES = "tiles"
    """TESSERA d-pixel directories with label rasters in them."""

    TABLE = "table"
    """A long-form Parquet table, one row per d-pixel and acquisition, and a table of labels."""


class SplitRule(StrEnum):
    """Who is on which side."""

    FOLDS = "folds"
    """Cross-validation: groups are dealt to folds, evenly over classes."""

    SMALLEST_GROUPS = "smallest_groups"
    """The smallest groups of each class train, up to a share of its area; the others test (the
    TESSERA authors' Austrian protocol, method.md 8.1)."""

    REGIONS = "regions"
    """Leave one region out."""

    GIVEN = "given"
    """The labels, or each tile's ``tile.json``, say ``train`` or ``test``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """Where d-pixels and labels of a task lie."""

    kind: Source
    """Which reader."""

    path: str | None = None
    """Folder or table, relative to ``evaluate.benchmark_data``; None for ``samples``."""

    labels: str | None = None
    """Table of labels, likewise; only for ``table``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What a task asks for. Exactly one of raster and column."""

    raster: str | None = None
    """File name of a label raster."""

    column: str | None = None
    """Column of the table of labels."""

    legend: str | None = None
    """Key in ``legend.json`` that names the codes."""

    strict: bool = False
    """Refuse codes that the legend does not name, instead of calling them by their number."""

    ignore: tuple[int, ...] = (0,)
    """Codes that mean "not labelled"; for classes only."""

    above: float | None = None
    """Change: positive where the value is above this."""

    maximum: float | None = None
    """Regression: larger values are taken for this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What goes whole to one side of a split. Exactly one of the four."""

    raster: str | None = None
    """File name of a raster of ids; d-pixels without one are grouped by blocks of 160 m."""

    column: str | None = None
    """Column of the table of labels."""

    block_size_m: int | None = None
    """Edge of square blocks of ground, metres."""

    tile: bool = False
    """Every tile is one group, as where tiles are the chips that somebody published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How groups are split."""

    rule: SplitRule = SplitRule.FOLDS

    train_share: float = 0.3
    """``smallest_groups``: share of each class's area that trains, 0..1."""

    column: str | None = None
    """``given``: which column of the labels, or key of each ``tile.json``, says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One task."""

    name: str
    """Lower case; equal to the file's name."""

    title: str
    """For people."""

    kind: Kind
    """What is predicted."""

    role: Role
    """What it may be used for."""

    data: DataSource
    truth: Truth
    group: Group
    metrics: tuple[str, ...]
    """The first one decides; see ``tessera_core.domain.scores``."""

    margin: float
    """How much worse in the first metric a new version may be and still count as no worse."""

    split: Split = Split()
    region: str | None = REGION_OF_TILE
    """What counts as a region: ``tile``, a column of the labels or key of each ``tile.json``, or
    None for no regions."""

    patch_size: int | None = None
    """Edge in pixels of what is predicted at once: the units of multi-label, the chips of
    segmentation. None for single d-pixels."""

    min_share: float = 0.1
    """Multi-label: share of a patch's labelled pixels from which a class is in it."""

    share_of_patches: float = 1.0
    """Segmentation: share of the chips that is read, 0..1; whole chips are held in memory."""

    num_per_group: int | None = None
    """D-pixels used of each group; None = ``evaluate.max_pixels_per_field``."""

    protocol: str = ""
    """Whose protocol this is and where it departs from it; for people."""

    def __post_init__(self) -> None:
        """Refuse what cannot be scored."""
        if not NAME.fullmatch(self.name):
            raise self._error(f"its name is {self.name!r}, expected {NAME.pattern}")
        require_metrics(self.kind, self.metrics, f"benchmark {self.name}")
        if not self.margin >= 0:
            raise self._error(f"its margin is {self.margin}, expected 0 or more")
        self._check_places()
        self._check_patch()

    def _check_places(self) -> None:
        is_table = self.data.kind == Source.TABLE
        if self.data.kind == Source.SAMPLES and self.region not in (REGION_OF_TILE, None):
            raise self._error(
                f"its region is {self.region}, but the run's own samples know only "
                f"{REGION_OF_TILE} and null"
            )
        if (self.truth.raster is None) == (self.truth.column is None):
            raise self._error("its truth needs either a raster or a column")
        if is_table != (self.truth.column is not None):
            raise self._error("a column is for tables and a raster for everything else")
        named = [part for part in (self.group.raster, self.group.column, self.group.block_size_m)
                 if part is not None]  # fmt: skip
        if len(named) + self.group.tile != 1:
            raise self._error(
                "its group needs exactly one of raster, column, block_size_m and tile: true"
            )
        if is_table == (self.group.column is None):
            raise self._error(
                "groups are a column in tables, and a raster, blocks or tiles elsewhere"
            )
        if (self.data.kind == Source.SAMPLES) != (self.data.path is None):
            raise self._error("its data needs a path, unless it is the run's own samples")
        if is_table != (self.data.labels is not None):
            raise self._error("a table, and nothing else, needs a table of labels")
        for path in (self.data.path, self.data.labels):
            if path is not None and (Path(path).is_absolute() or ".." in Path(path).parts):
                raise self._error(
                    f"{path} leaves the folder of benchmark data; set evaluate.benchmark_data to "
                    "where the data is and name it relative to that"
                )
        for raster in (self.truth.raster, self.group.raster):
            if raster is not None and (not raster or Path(raster).name != raster):
                raise self._error(
                    f"{raster!r} is not the name of a raster; it lies in the folder of the labels"
                )
        self._check_numbers()
        self._check_split()

    def _check_numbers(self) -> None:
        edge = self.group.block_size_m
        if edge is not None and edge < TILE_RESOLUTION_M:
            raise self._error(
                f"block_size_m is {edge}, expected {TILE_RESOLUTION_M}, the size of a pixel, or "
                "more: smaller blocks put neighbours on both sides"
            )
        if self.num_per_group is not None and self.num_per_group < 1:
            raise self._error(f"num_per_group is {self.num_per_group}, expected 1 or more")
        if len(set(self.metrics)) != len(self.metrics):
            raise self._error(f"a metric is named twice: {', '.join(self.metrics)}")

    def _check_split(self) -> None:
        rule = self.split.rule
        if rule == SplitRule.GIVEN and self.split.column is None:
            raise self._error("a given split needs the column that says train or test")
        if rule == SplitRule.GIVEN and self.data.kind == Source.SAMPLES:
            raise self._error("the run's own samples say nothing of train or test; use folds")
        if rule == SplitRule.REGIONS and self.region is None:
            raise self._error("the split leaves regions out, but its region is null")
        if rule == SplitRule.SMALLEST_GROUPS and self.num_per_group is None:
            raise self._error(
                "smallest_groups orders groups by their d-pixels, so num_per_group has to be above "
                "the size of the groups that are to train"
            )
        if not 0 < self.split.train_share < 1:
            raise self._error(f"split.train_share is {self.split.train_share}, expected 0..1")

    def _check_patch(self) -> None:
        needs = self.kind in (Kind.MULTILABEL, Kind.SEGMENTATION)
        if needs and self.patch_size is None:
            raise self._error(f"{self.kind} needs a patch_size")
        if self.patch_size is not None:
            if self.patch_size < MIN_PATCH:
                raise self._error(f"patch_size is {self.patch_size}, expected {MIN_PATCH} or more")
            if not 0 < self.share_of_patches <= 1:
                raise self._error(f"share_of_patches is {self.share_of_patches}, expected 0..1")
            if not 0 <= self.min_share <= 1:
                raise self._error(f"min_share is {self.min_share}, expected 0..1")
            if self.data.kind == Source.TABLE:
                raise self._error("a table has no patches")
            if not needs:
                raise self._error(
                    f"{self.kind} is scored by single d-pixels; leave patch_size out, or group by "
                    "tile to hold chips out whole"
                )
        if self.kind == Kind.CHANGE and self.truth.above is None:
            raise self._error("change needs truth.above, the value from which it is a change")

    def _error(self, reason: str) -> ConfigError:
        return ConfigError(f"benchmark {self.name}: {reason}")


def read_benchmark(path: Path) -> Benchmark:
    """Return one definition.

    Raises:
        ConfigError: It is unreadable, incomplete, or contradicts itself.
    """
    values = read_yaml(path, "List the benchmarks with `tessera benchmark --list`")
    benchmark = build(Benchmark, values, "", str(path))
    assert isinstance(benchmark, Benchmark)  # noqa: S101 - narrows the type
    if benchmark.name != path.stem:
        raise ConfigError(f"{path} defines {benchmark.name!r}; a file is named as its benchmark")
    return benchmark


def read_benchmarks(folder: Path, names: tuple[str, ...] | None = None) -> list[Benchmark]:
    """Return the definitions in a folder that report, ordered by name.

    Args:
        folder: With ``*.yaml`` files.
        names: Only these; None = every one with the role ``report``.

    Raises:
        ConfigError: A definition is wrong, a name is unknown or that of a selection task, or there
            is no report task.
    """
    found = {path.stem: read_benchmark(path) for path in sorted(folder.glob("*.yaml"))}
    if not any(benchmark.role == Role.REPORT for benchmark in found.values()):
        raise ConfigError(
            f"{folder} holds no report task; set evaluate.benchmarks to a folder with definitions"
        )
    for name in names or ():
        if name not in found:
            raise ConfigError(f"{name} is not a benchmark in {folder}. {did_you_mean(name, found)}")
        if found[name].role != Role.REPORT:
            raise ConfigError(
                f"{name} is a {found[name].role} task: it chooses models, so it cannot report on "
                "them; name report tasks"
            )
    chosen = found if names is None else {name: found[name] for name in sorted(set(names))}
    return [benchmark for benchmark in chosen.values() if benchmark.role == Role.REPORT]
