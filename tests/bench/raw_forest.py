"""Score a random forest on the raw series of a simulated catalogue: how hard is the task?

    python tests/bench/raw_forest.py data/scenes/simulated

Stand-alone on purpose: it reads the catalogue with json and rasterio alone, so that it is a
second opinion on the catalogue and needs no ingest. Features are monthly medians of the clear
Sentinel-2 observations and monthly means of the Sentinel-1 decibels; folds never share a
parcel. The simulator is tuned so that crop accuracy lies at 0.65-0.80 and R2 of canopy height
at 0.4-0.8: clearly learnable, clearly not solved.
"""

import argparse
import json
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, r2_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from tessera_core.domain.backscatter import power_from_scaled_db, scaled_db_from_power
from tessera_core.domain.bands import S2_NAMES
from tessera_core.domain.reflectance import OffsetPolicy, carries_offset, remove_offset
from tessera_core.domain.scl import clear_mask

NUM_MONTHS = 12
NUM_FOLDS = 4
NUM_TREES = 200
NUM_THREADS = 2
SEED = 0

FloatArray = npt.NDArray[np.float32]


def items(catalogue: Path, collection: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the folder and the document of each item of a collection."""
    folder = catalogue / collection
    document = json.loads((folder / "collection.json").read_text())
    for link in document["links"]:
        if link["rel"] == "item":
            path = folder / link["href"]
            yield path.parent, json.loads(path.read_text())


def window(item: dict[str, Any], left_m: float, top_m: float, num_rows: int) -> tuple[slice, slice]:
    """Return the rows and columns of 10 m that an item covers."""
    left, _, right, top = item["properties"]["proj:bbox"]
    first_row, first_column = round((top_m - top) / 10), round((left - left_m) / 10)
    return slice(first_row, num_rows), slice(first_column, first_column + round(right - left) // 10)


def read(folder: Path, item: dict[str, Any], name: str) -> npt.NDArray[Any]:
    """Return an asset on the 10 m grid, 20 m pixels repeated."""
    asset = item["assets"][name]
    with rasterio.open(folder / asset["href"]) as dataset:
        values = dataset.read(1)
    factor = int(asset["proj:transform"][0]) // 10
    return values.repeat(factor, axis=0).repeat(factor, axis=1)


def optical_months(catalogue: Path, frame: rasterio.DatasetReader) -> FloatArray:
    """Return monthly medians (y, x, month, band) of clear reflectance; NaN without any."""
    days: dict[str, FloatArray] = defaultdict(
        lambda: np.full((*frame.shape, len(S2_NAMES)), np.nan, dtype=np.float32)
    )
    num_clear = num_seen = 0
    for folder, item in items(catalogue, "sentinel-2-l2a"):
        day = item["properties"]["datetime"][:10]
        place = window(item, frame.bounds.left, frame.bounds.top, frame.height)
        values = np.stack([read(folder, item, name) for name in S2_NAMES], axis=-1)
        if carries_offset(date.fromisoformat(day), OffsetPolicy.BY_DATE):
            values = remove_offset(values)
        clear = clear_mask(read(folder, item, "SCL"))
        mosaic = days[day][place]
        new = clear & np.isnan(mosaic[..., 0])
        mosaic[new] = values[new]
        num_clear, num_seen = num_clear + int(clear.sum()), num_seen + clear.size
    stack = np.stack([days[day] for day in sorted(days)])
    month = np.array([int(day[5:7]) for day in sorted(days)])
    count = (~np.isnan(stack[..., 0])).sum(axis=0)
    report(f"optical: {len(days)} dates, {num_clear / num_seen:.2f} of the pixels clear")
    report(f"clear dates per pixel: {np.percentile(count, [5, 50, 95]).astype(int)} (5/50/95 %)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a month without any clear date
        months = [np.nanmedian(stack[month == m + 1], axis=0) for m in range(NUM_MONTHS)]
    return np.stack(months, axis=2)


def radar_months(catalogue: Path, frame: rasterio.DatasetReader) -> FloatArray:
    """Return monthly means (y, x, month, orbit x polarisation) in dB; NaN without any."""
    total = np.zeros((*frame.shape, NUM_MONTHS, 4), dtype=np.float32)
    count = np.zeros_like(total)
    for folder, item in items(catalogue, "sentinel-1-rtc"):
        month = int(item["properties"]["datetime"][5:7]) - 1
        orbit = ("ascending", "descending").index(item["properties"]["sat:orbit_state"])
        for offset, name in enumerate(("vv", "vh")):
            power = power_from_scaled_db(scaled_db_from_power(read(folder, item, name)))
            seen = np.isfinite(power)
            channel = 2 * orbit + offset
            total[..., month, channel][seen] += 10 * np.log10(power[seen])
            count[..., month, channel] += seen
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def thin(parcel: npt.NDArray[np.int32], limit: int) -> npt.NDArray[np.int64]:
    """Return indices of at most ``limit`` pixels of each parcel."""
    order = np.random.default_rng(SEED).permutation(parcel.size)
    order = order[np.argsort(parcel[order], kind="stable")]
    starts = np.r_[0, np.flatnonzero(np.diff(parcel[order])) + 1]
    rank = np.arange(parcel.size) - np.repeat(starts, np.diff(np.r_[starts, parcel.size]))
    return np.sort(order[rank < limit])


def report(line: str) -> None:
    """Write one line of the report."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def score_crops(
    features: FloatArray, crop: npt.NDArray[np.uint16], parcel: npt.NDArray[np.int32]
) -> None:
    """Report how well a forest tells the crops apart in parcels it has not seen."""
    forest = RandomForestClassifier(NUM_TREES, n_jobs=NUM_THREADS, random_state=SEED)
    found = cross_val_predict(forest, features, crop, groups=parcel, cv=GroupKFold(NUM_FOLDS))
    _, counts = np.unique(crop, return_counts=True)
    report(f"crop type: {crop.size} pixels, {np.unique(parcel).size} parcels, {counts.size} crops")
    report(f"  accuracy           {accuracy_score(crop, found):.3f}")
    report(f"  chance (largest)   {counts.max() / counts.sum():.3f}")
    report(f"  balanced accuracy  {balanced_accuracy_score(crop, found):.3f}")
    report(f"  chance (balanced)  {1 / counts.size:.3f}")
    report(f"  macro F1           {f1_score(crop, found, average='macro'):.3f}")
    for code in np.unique(crop):
        true = crop == code
        report(f"    {code}: recall {(found[true] == code).mean():.2f} of {true.sum()} pixels")


def score_height(features: FloatArray, height_m: FloatArray, parcel: npt.NDArray[np.int32]) -> None:
    """Report how well a forest estimates canopy height in stands it has not seen."""
    forest = RandomForestRegressor(
        NUM_TREES, n_jobs=NUM_THREADS, random_state=SEED, max_features=1 / 3
    )
    found = cross_val_predict(forest, features, height_m, groups=parcel, cv=GroupKFold(NUM_FOLDS))
    error = float(np.sqrt(np.mean((found - height_m) ** 2)))
    report(f"canopy height: {height_m.size} pixels, {np.unique(parcel).size} stands")
    report(f"  R2 {r2_score(height_m, found):.3f}, RMSE {error:.2f} m")


def main() -> None:
    """Read the catalogue named on the command line and report the scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("catalogue", type=Path, help="folder with catalog.json")
    parser.add_argument("--pixels-per-parcel", type=int, default=1_000_000)
    arguments = parser.parse_args()
    labels = {}
    for name in ("crop_type", "parcel_id", "canopy_height"):
        with rasterio.open(arguments.catalogue / "labels" / f"{name}.tif") as frame:
            labels[name] = frame.read(1)
    optical, radar = (
        months(arguments.catalogue, frame) for months in (optical_months, radar_months)
    )
    features = np.concatenate(
        [part.reshape(*frame.shape, -1) for part in (optical, radar)], axis=-1
    )
    for wanted, name, score in (
        (labels["crop_type"] > 0, "crop_type", score_crops),
        (np.isfinite(labels["canopy_height"]), "canopy_height", score_height),
    ):
        there = wanted & (labels["parcel_id"] > 0)
        chosen = thin(labels["parcel_id"][there], arguments.pixels_per_parcel)
        score(
            features[there][chosen],
            labels[name][there][chosen],
            labels["parcel_id"][there][chosen],
        )


if __name__ == "__main__":
    main()
