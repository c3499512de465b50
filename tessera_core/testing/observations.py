"""D-pixels one observation at a time: slow, obvious, and what fast code is compared with."""

from tessera_core.domain.dpixel import DPixels, Series

Observation = tuple[int, tuple[int, ...], bool]
"""Day of year, stored values of all bands, valid."""

Pixel = tuple[list[Observation], list[Observation], list[Observation]]
"""Optical, ascending and descending observations of one d-pixel."""


def observations_of(series: Series) -> list[list[Observation]]:
    """Return the observations of each d-pixel as plain Python values."""
    return [
        [
            (int(series.day_of_year[i]), tuple(series.values[i].tolist()), bool(series.valid[i]))
            for i in range(int(series.offsets[pixel]), int(series.offsets[pixel + 1]))
        ]
        for pixel in range(len(series))
    ]


def pixels_as_lists(pixels: DPixels) -> list[Pixel]:
    """Return every d-pixel as plain Python values."""
    sensors = (pixels.optical, pixels.ascending, pixels.descending)
    optical, ascending, descending = (observations_of(series) for series in sensors)
    return list(zip(optical, ascending, descending, strict=True))
