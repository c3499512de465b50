"""Measures of many tiles as tables: three for the rules, one long one for the disk."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import pyarrow as pa

from tessera_core.quality.statistics import TileMeasures


def tables_of(measures: Sequence[TileMeasures]) -> dict[str, dict[str, list[Any]]]:
    """Return the ``tile``, ``band`` and ``row`` tables as columns of plain values."""
    tile_rows = [asdict(each.tile) for each in measures]
    band_rows = [
        {**_key(each), "sensor": sensor, "band": band, **asdict(values)}
        for each in measures
        for (sensor, band), values in each.bands.items()
    ]
    samples: dict[str, list[Any]] = {"tile": [], "year": []}
    for each in measures:
        for name, value in _key(each).items():
            samples[name].extend([value] * len(each.sample.row))
        for part in fields(each.sample):
            samples.setdefault(part.name, []).extend(getattr(each.sample, part.name).tolist())
    return {"tile": _columns(tile_rows), "band": _columns(band_rows), "row": samples}


def statistics_table(measures: Sequence[TileMeasures]) -> pa.Table:
    """Return all numbers in long form: tile, year, sensor, band, statistic, value.

    Sensor and band are null where a number belongs to the tile; the value is null where the
    tile has no such observation.
    """
    rows: list[dict[str, Any]] = []
    for each in measures:
        parts: list[tuple[tuple[str | None, str | None], dict[str, Any]]] = [
            ((None, None), asdict(each.tile)),
            *((key, asdict(values)) for key, values in each.bands.items()),
        ]
        rows.extend(
            {**_key(each), "sensor": sensor, "band": band, "statistic": name, "value": value}
            for (sensor, band), numbers in parts
            for name, value in numbers.items()
            if name not in ("tile", "year")
        )
    schema = pa.schema(
        [
            pa.field("tile", pa.string()),
            pa.field("year", pa.int32()),
            pa.field("sensor", pa.string()),
            pa.field("band", pa.string()),
            pa.field("statistic", pa.string()),
            pa.field("value", pa.float64()),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def _key(measures: TileMeasures) -> dict[str, Any]:
    return {"tile": measures.tile.tile, "year": measures.tile.year}


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}
