"""A long-form table: one row per d-pixel and acquisition, with a table of labels beside it.

Columns of the series: ``pixel_id, sensor`` (``S2`` or ``S1``), ``doy`` (1..366), ``valid``, the ten
S2 bands (reflectance x 10000), ``VV, VH`` (scaled dB) and, where both orbits occur, ``orbit``. The
labels have ``pixel_id``, ``year`` and whatever a benchmark asks for.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tessera_core.domain.backscatter import MISSING, SCALED_MAX
from tessera_core.domain.bands import S1_BANDS, S2_BANDS
from tessera_core.domain.dpixel import DPixels, Series, radar_series
from tessera_core.domain.tile import MAX_DAY
from tessera_core.errors import RecordError

S2_COLUMNS: Final = tuple(band.name for band in S2_BANDS)
S1_COLUMNS: Final = tuple(band.name for band in S1_BANDS)
KEYS: Final = ("pixel_id", "sensor", "doy", "valid")
NEEDED: Final = (*KEYS, *S2_COLUMNS, *S1_COLUMNS)
NEEDED_LABELS: Final = ("pixel_id", "year")
OPTICAL: Final = "S2"
RADAR: Final = "S1"
ASCENDING: Final = "ascending"
DESCENDING: Final = "descending"
TEXTS: Final = ("sensor", "orbit")
MIN_YEAR: Final = 1972
MAX_YEAR: Final = 2100
"""From the first Landsat to a slip of the pen."""

MAX_REFLECTANCE: Final = 65535
LEAST_BRIGHT: Final = 16
"""No table of reflectance x 10000 is darker than this throughout."""

Frame = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LongTable:
    """N d-pixels and their labels, in the order of the labels."""

    pixels: DPixels
    """The observations."""

    columns: Frame
    """Column of the labels -> (N,)."""

    year: int
    """Year of the labels, the latest of several."""


def read_long_table(path: Path, labels: Path) -> LongTable:
    """Read both tables; d-pixels without a label are left out.

    Raises:
        RecordError: A table is unreadable, lacks a column, names a d-pixel twice or says nothing
            where it must; a label has no observation; a day or value is out of range.
    """
    series, known = _read(path, NEEDED), _read(labels, NEEDED_LABELS)
    ids = known["pixel_id"]
    unique, first = np.unique(ids, return_index=True)
    if len(unique) != len(ids):
        twice = np.setdiff1d(np.arange(len(ids)), first)[0]
        raise RecordError(f"{labels} labels d-pixel {ids[twice]} twice; expected one row each")
    if len(lost := np.setdiff1d(ids, series["pixel_id"])):
        raise RecordError(
            f"{labels} labels d-pixel {lost[0]}, which {path} does not hold ({len(lost)} in all)"
        )
    place = np.searchsorted(unique, series["pixel_id"])
    place = np.minimum(place, len(unique) - 1)
    has_label = unique[place] == series["pixel_id"]
    # first[place] is the row of the labels; a stable sort brings each d-pixel's rows together.
    owner = np.where(has_label, first[place], -1)
    _require_sense(path, series)
    _require_whole(labels, known, "year")
    if not MIN_YEAR <= known["year"].min() <= known["year"].max() <= MAX_YEAR:
        raise RecordError(
            f"{labels}: year {known['year'].max()} or {known['year'].min()}, expected "
            f"{MIN_YEAR}..{MAX_YEAR}"
        )
    day = series["doy"]
    sensor = series["sensor"].astype(str)
    if len(unknown := np.setdiff1d(sensor, [OPTICAL, RADAR])):
        raise RecordError(f"{path}: sensor {str(unknown[0])!r}, expected {OPTICAL} or {RADAR}")
    orbit = series.get("orbit", np.full(len(day), ASCENDING)).astype(str)
    if len(unknown := np.setdiff1d(orbit[sensor == RADAR], [ASCENDING, DESCENDING])):
        raise RecordError(
            f"{path}: orbit {str(unknown[0])!r}, expected {ASCENDING} or {DESCENDING}"
        )
    _require_encodings(path, series, sensor)
    is_radar = has_label & (sensor == RADAR)
    pixels = DPixels(
        optical=_optical(series, owner, has_label & (sensor == OPTICAL), len(ids)),
        ascending=_radar(series, owner, is_radar & (orbit != DESCENDING), len(ids)),
        descending=_radar(series, owner, is_radar & (orbit == DESCENDING), len(ids)),
    )
    return LongTable(pixels=pixels, columns=known, year=int(known["year"].max()))


def _read(path: Path, needed: tuple[str, ...]) -> Frame:
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
    except (OSError, pa.ArrowInvalid) as error:
        raise RecordError(f"cannot read {path}: {error}") from error
    for name in needed:
        if table.column_names.count(name) > 1:
            raise RecordError(f"{path} has the column {name} more than once; keep one")
        if name not in table.column_names:
            raise RecordError(
                f"{path} has no column {name}, expected {', '.join(needed)}; has "
                f"{', '.join(table.column_names)}"
            )
    if not table.num_rows:
        raise RecordError(f"{path} has no row")
    for name in (*KEYS, *NEEDED_LABELS):
        # A missing word for "valid" would count as yes.
        if name in needed and table[name].null_count:
            raise RecordError(
                f"{path}: {table[name].null_count} of {table.num_rows} rows say no {name}; leave "
                "these rows out"
            )
    for name in TEXTS if needed is NEEDED else ():
        if name in table.column_names and not _is_text(table[name].type):
            raise RecordError(f"{path}: column {name} holds {table[name].type}, expected text")
    ids = table["pixel_id"].type
    if not (_is_text(ids) or pa.types.is_integer(ids)):
        raise RecordError(f"{path}: column pixel_id holds {ids}, expected whole numbers or text")
    return {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}


def _is_text(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(value) or pa.types.is_large_string(value))


def _require_sense(path: Path, series: Frame) -> None:
    """Refuse days, flags and bands that would be read as something else."""
    _require_whole(path, series, "doy")
    day = series["doy"]
    if ((day < 1) | (day > MAX_DAY)).any():
        raise RecordError(f"{path}: day of year {day.max()} or {day.min()}, expected 1..{MAX_DAY}")
    valid = series["valid"]
    if valid.dtype.kind not in "biu" or not np.isin(valid, (0, 1)).all():
        raise RecordError(
            f"{path}: column valid holds {valid.dtype} such as {valid[0]!r}, expected true and "
            "false or 1 and 0"
        )
    for band in (*S2_COLUMNS, *S1_COLUMNS):
        if series[band].dtype.kind not in "iuf":
            raise RecordError(f"{path}: column {band} holds {series[band].dtype}, expected numbers")


def _require_whole(path: Path, columns: Frame, name: str) -> None:
    values = columns[name]
    if (
        values.dtype.kind not in "iuf"
        or not np.isfinite(values).all()
        or not (values == np.round(values)).all()
    ):
        raise RecordError(f"{path}: column {name} holds {values.dtype}, expected whole numbers")


def _require_encodings(path: Path, series: Frame, sensor: npt.NDArray[np.str_]) -> None:
    """Refuse shares for reflectance and plain decibels: stored, they would all be "no data"."""
    optical = [np.nanmax(series[band][sensor == OPTICAL], initial=0) for band in S2_COLUMNS]
    if 0 < max(optical) < LEAST_BRIGHT:
        raise RecordError(
            f"{path}: reflectance goes up to {max(optical):g}, expected it x 10000; multiply it"
        )
    radar = [np.nanmin(series[band][sensor == RADAR], initial=0) for band in S1_COLUMNS]
    if min(radar) < 0:
        raise RecordError(
            f"{path}: backscatter goes down to {min(radar):g}, expected (2 dB + 50) x 200, from 0 "
            "on; convert it"
        )


def _optical(series: Frame, owner: Any, chosen: npt.NDArray[np.bool_], num: int) -> Series:
    rows, offsets = _ordered(series, owner, chosen, num)
    values = np.stack([series[band][rows] for band in S2_COLUMNS], axis=1).astype(np.float64)
    complete = np.asarray(np.isfinite(values).all(axis=1))
    values = np.where(complete[:, None], values, 0)
    valid = series["valid"][rows].astype(bool) & (values > 0).any(axis=1)
    stored = np.clip(np.round(values), 0, MAX_REFLECTANCE).astype(np.uint16)
    day = series["doy"][rows].astype(np.uint16)
    return Series(values=stored, day_of_year=day, offsets=offsets, valid=valid)


def _radar(series: Frame, owner: Any, chosen: npt.NDArray[np.bool_], num: int) -> Series:
    rows, offsets = _ordered(series, owner, chosen, num)
    values = np.stack([series[band][rows] for band in S1_COLUMNS], axis=1).astype(np.float64)
    usable = np.isfinite(values) & series["valid"][rows].astype(bool)[:, None]
    stored = np.clip(np.round(np.where(usable, values, MISSING)), 0, SCALED_MAX).astype(np.int16)
    return radar_series(stored, series["doy"][rows].astype(np.uint16), offsets)


def _ordered(
    series: Frame, owner: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_], num: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the chosen rows by d-pixel and, within it, as they stand; and where each starts."""
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(owner[rows], kind="stable")]
    counts = np.bincount(owner[rows], minlength=num)
    return rows, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
