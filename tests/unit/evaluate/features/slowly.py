"""What features are tested against: observations of one d-pixel, a list at a time."""


def radar_value(stored):
    """Return what stored backscatter means in doubled decibels."""
    return stored / 200 - 50


def by_band(pixel):
    """Return (day, value) of all that was observed, for ten S2, two ascending, two descending."""
    optical, ascending, descending = pixel
    bands = [
        [(day, values[band] / 10_000) for day, values, valid in optical if valid]
        for band in range(10)
    ]
    for orbit in (ascending, descending):
        for band in range(2):
            bands.append(
                [(day, radar_value(values[band])) for day, values, _ in orbit if values[band] != 0]
            )
    return bands
