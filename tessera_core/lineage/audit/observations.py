"""Which observations stand behind one d-pixel, and which scenes they came from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tessera_core.domain.backscatter import present_mask
from tessera_core.domain.bands import NUM_S1, ORBITS
from tessera_core.domain.scl import SceneClass, clear_mask
from tessera_core.errors import RecordError
from tessera_core.records.samples import SAMPLES_NAME, SCENES_NAME, read_table
from tessera_core.records.schema import SCENES

OPTICAL: Final = "S2"
NOT_HERE: Final = "no pixel of it lies in this tile"
MISSING: Final = "missing value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One date of one sensor at a pixel."""

    sensor: str
    """``S2``, ``S1 ascending`` or ``S1 descending``."""

    acquired: str
    """ISO date, UTC; empty for a file that holds several dates."""

    scenes: tuple[str, ...]
    """Ids of the scenes of that date; the day's mosaic took the pixel from one of them."""

    used: bool
    """True where it entered: clear for S2, present for S1."""

    state: str
    """Scene class of S2, ``present`` for S1, or why it was dropped."""


def read_observations(
    samples: Path, scenes: Path, *, row: int, column: int, radar_collection: str, year: int
) -> list[Observation] | None:
    """Return all observations of a pixel by sensor and date, and the scenes that gave none.

    Args:
        samples: The tile's samples table.
        scenes: Its scenes table.
        row: Pixel row in the tile.
        column: Pixel column in the tile.
        radar_collection: Collection id of Sentinel-1 scenes.
        year: The tile's calendar year.

    Returns:
        None where the samples have no such pixel.

    Raises:
        RecordError: A table is unreadable.
    """
    pixel = _read_pixel(samples, row, column)
    if pixel is None:
        return None
    known = _scenes_by_date(read_table(scenes, SCENES), radar_collection)
    seen = list(_observations(pixel, known, year))
    return [*seen, *_unseen(known, {(each.sensor, each.acquired) for each in seen})]


def sample_names(tile: str, year: int) -> tuple[str, str]:
    """Return the paths of a tile's samples and scenes table in a workspace."""
    folder = f"data/samples/tile={tile}/window={year}"
    return f"{folder}/{SAMPLES_NAME}", f"{folder}/{SCENES_NAME}"


def _read_pixel(samples: Path, row: int, column: int) -> dict[str, Any] | None:
    """Return the row of one pixel, reading only the row groups that can hold it.

    As plain Python values: filters, scalars and numpy conversions of pyarrow import pandas.
    """
    try:
        with pq.ParquetFile(samples) as file:
            place = file.schema_arrow.get_field_index("row")
            for group in range(file.num_row_groups):
                known = file.metadata.row_group(group).column(place).statistics
                if known is not None and not known.min <= row <= known.max:
                    continue
                positions = file.read_row_group(group, columns=["row", "column"])
                pixels = [positions[name].to_pylist() for name in ("row", "column")]
                for index, here in enumerate(zip(*pixels, strict=True)):
                    if here == (row, column):
                        table = file.read_row_group(group, use_threads=False)
                        return dict(table.slice(index, 1).to_pylist()[0])
    except (OSError, pa.ArrowInvalid) as error:
        raise RecordError(f"cannot read {samples}: {error}") from error
    return None


def _scenes_by_date(table: pa.Table, radar_collection: str) -> dict[tuple[str, str], list[str]]:
    """Return the scene ids of each sensor and date; one scene has a row per file."""
    known: dict[tuple[str, str], list[str]] = {}
    columns = ("scene_id", "collection", "acquired", "orbit")
    for scene, collection, acquired, orbit in zip(
        *(table[name].to_pylist() for name in columns), strict=True
    ):
        sensor = f"S1 {orbit}" if collection == radar_collection else OPTICAL
        ids = known.setdefault((sensor, acquired), [])
        if scene not in ids:
            ids.append(scene)
    return known


def _observations(
    pixel: Mapping[str, Any], known: Mapping[tuple[str, str], list[str]], year: int
) -> Iterator[Observation]:
    # A file that holds several dates, as in TESSERA tile directories, is behind each of them.
    undated = tuple(known.get((OPTICAL, ""), ()))
    scl = np.array(pixel["s2_scl"], np.uint8)
    for day, code, used in zip(pixel["s2_day_of_year"], scl, clear_mask(scl), strict=True):
        acquired = _iso(year, day)
        yield Observation(
            sensor=OPTICAL, acquired=acquired, used=bool(used), state=_scene_class(int(code)),
            scenes=tuple(known.get((OPTICAL, acquired), undated)),
        )  # fmt: skip
    for orbit in ORBITS:
        values = np.array(pixel[f"s1_{orbit}"], np.int16).reshape(-1, NUM_S1)
        days = pixel[f"s1_{orbit}_day_of_year"]
        for day, used in zip(days, present_mask(values), strict=True):
            acquired = _iso(year, day)
            yield Observation(
                sensor=f"S1 {orbit}", acquired=acquired, used=bool(used),
                state="present" if used else MISSING,
                scenes=tuple(known.get((f"S1 {orbit}", acquired), undated)),
            )  # fmt: skip


def _unseen(
    known: Mapping[tuple[str, str], list[str]], seen: set[tuple[str, str]]
) -> Iterator[Observation]:
    for (sensor, acquired), scenes in sorted(known.items()):
        if acquired and (sensor, acquired) not in seen:
            yield Observation(
                sensor=sensor, acquired=acquired, scenes=tuple(scenes), used=False, state=NOT_HERE
            )


def _iso(year: int, day_of_year: int) -> str:
    return (date(year, 1, 1) + timedelta(days=int(day_of_year) - 1)).isoformat()


def _scene_class(code: int) -> str:
    try:
        return SceneClass(code).name.lower().replace("_", " ")
    except ValueError:
        return f"scene class {code}"
