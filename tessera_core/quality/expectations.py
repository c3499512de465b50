"""Second tier: the rules that a tile must keep, declared as data."""

from typing import Any, Final

from tessera_core.domain.bands import REFLECTANCE_SCALE, S1_NAMES, S2_NAMES
from tessera_core.quality.config import QualityConfig
from tessera_core.quality.rule import Rule

# Physical bounds: what no healthy tile of land leaves, wherever it lies. They are facts of the
# sensors and of the encoding, so they are not settings.

REFLECTANCE_MAX: Final = 2 * REFLECTANCE_SCALE
"""Clouds and snow reach 1.2, glint more; 1 in 100 observations above 2.0 is an encoding fault."""

REFLECTANCE_MEDIAN_MAX: Final = 12_000
"""Fresh snow all year stays below 1.2."""

ZERO_SHARE_MAX: Final = 0.05
"""Exact zeros in a clear observation are rare: only digital number 1000 minus the offset."""

SATURATED_SHARE_MAX: Final = 0.01
"""The highest code of the type marks overflow."""

VV_MEDIAN: Final = (1_000, 9_000)
"""Scaled dB, gamma0 -22.5..-2.5 dB: from dry sand to dense towns."""

VH_MEDIAN: Final = (0, 6_000)
"""Scaled dB, gamma0 up to -10 dB. Sand and calm water fall below -25 dB and are stored as 0.

Land at -17.5 dB is stored as 3000; in plain instead of doubled dB (method.md 12) it
would be 6500.
"""

PRESENT_SHARE_MIN: Final = 0.05
"""An orbit with dates has values at least at a swath's edge; linear power stored as int16 has
none."""

MAX_SERIES_LENGTH: Final = 366 * 2
"""More than two S2 observations a day are not one pixel's series."""


def rules(config: QualityConfig) -> tuple[Rule, ...]:
    """Return all rules: limits that the settings choose first, then those that physics sets."""
    return (*_coverage_rules(config), *_record_rules(), *_band_rules(), *_row_rules())


def _coverage_rules(config: QualityConfig) -> tuple[Rule, ...]:
    """Is there enough to see, all year round?"""
    return (
        Rule(
            name="has_pixels",
            table="tile",
            column="num_pixels",
            minimum=1,
            meaning="number of d-pixels",
            next_step="check the tile's region of interest, or remove the tile from the source",
        ),
        Rule(
            name="has_clear_observations",
            table="tile",
            column="median_clear",
            minimum=config.min_clear_median,
            meaning="median number of clear S2 observations per d-pixel",
            next_step="look for missing scenes or a wrong mask, or lower quality.min_clear_median",
        ),
        Rule(
            name="few_pixels_without_clear",
            table="tile",
            column="share_without_clear",
            maximum=config.max_share_without_clear,
            meaning="share of d-pixels without any clear observation",
            next_step=(
                "narrow the region of interest to where scenes reach, "
                "or raise quality.max_share_without_clear"
            ),
        ),
        Rule(
            name="no_long_gap",
            table="tile",
            column="longest_gap_days",
            maximum=config.max_date_gap_days,
            meaning="longest run of days without a clear observation",
            next_step="ingest the missing scenes, or raise quality.max_date_gap_days",
        ),
        Rule(
            name="few_duplicates",
            table="tile",
            column="share_duplicate",
            maximum=config.max_duplicate_share,
            meaning="share of d-pixels whose S2 series equals another's",
            next_step=(
                "look for a source coarser than 10 m or a filled area, "
                "or raise quality.max_duplicate_share"
            ),
        ),
        *(
            Rule(
                name=f"{orbit}_has_values",
                table="tile",
                column=f"share_present_{orbit}",
                minimum=PRESENT_SHARE_MIN,
                meaning=f"share of S1 {orbit} observations that have a value",
                next_step=(
                    "check that the source gives gamma0 in linear power, or leave that orbit out"
                ),
            )
            for orbit in ("ascending", "descending")
        ),
    )


def _record_rules() -> tuple[Rule, ...]:
    """Are the records what they claim to be?"""

    def none_of(name: str, column: str, meaning: str, next_step: str) -> Rule:
        return Rule(
            name=name,
            table="tile",
            column=column,
            minimum=0,
            maximum=0,
            meaning=meaning,
            next_step=next_step,
        )

    return (
        none_of(
            "scene_classes_are_known",
            "num_unknown_scl",
            "number of S2 observations of an unknown scene class",
            "check that the mask asset is Sentinel-2 SCL, then ingest again",
        ),
        none_of(
            "days_are_in_the_year",
            "num_days_outside_year",
            "number of observations on a day that the year does not have",
            "count days from 1 = 1 January UTC and check the tile's year, then ingest again",
        ),
        none_of(
            "positions_are_unique",
            "num_repeated_positions",
            "number of d-pixels at a row and column that another one has",
            "look for a tile that was written twice, then ingest again",
        ),
        Rule(
            name="has_scenes",
            table="tile",
            column="num_scene_files",
            minimum=1,
            meaning="number of source files named in the scenes table",
            next_step="ingest again: without scenes no audit can lead back to the sources",
        ),
        none_of(
            "scenes_have_digests",
            "num_files_without_digest",
            "number of source files without sha256 or ETag",
            "ingest again from a source that gives digests",
        ),
        none_of(
            "scenes_are_of_the_year",
            "num_scenes_outside_year",
            "number of source files acquired in another year",
            "check ingest.year and the source's dates, then ingest again",
        ),
    )


def _band_rules() -> tuple[Rule, ...]:
    """Are the values in the encoding that the encoder is trained with?"""
    reflectance = "store reflectance x 10000 with the baseline offset removed once"
    backscatter = "store (20 log10(power) + 50) * 200 of gamma0 in linear power"

    def about(bands: tuple[str, ...], name: str, column: str, **limits: Any) -> Rule:
        return Rule(name=name, table="band", column=column, bands=bands, **limits)

    return (
        about(
            S2_NAMES,
            "reflectance_in_range",
            "quantile_99",
            maximum=REFLECTANCE_MAX,
            meaning="99 % quantile of clear reflectance x 10000",
            next_step=f"{reflectance}; wrapped-around or unscaled values give such numbers",
        ),
        about(
            S2_NAMES,
            "reflectance_is_plausible",
            "median",
            minimum=1,
            maximum=REFLECTANCE_MEDIAN_MAX,
            meaning="median of clear reflectance x 10000",
            next_step=f"{reflectance}, and check the mask",
        ),
        about(
            S2_NAMES,
            "few_zeros",
            "share_zero",
            maximum=ZERO_SHARE_MAX,
            meaning="share of zeros among clear reflectance",
            next_step="check that the band's asset was found for every date, and the mask",
        ),
        about(
            (*S2_NAMES, *S1_NAMES),
            "few_saturated",
            "share_saturated",
            maximum=SATURATED_SHARE_MAX,
            meaning="share of values at the highest code of their type",
            next_step="look for an overflow or another no-data value in the source",
        ),
        about(
            (*S2_NAMES, *S1_NAMES),
            "band_varies",
            "spread",
            minimum=1,
            meaning="99 % minus 1 % quantile",
            next_step="check that the band was read and not filled: a constant teaches nothing",
        ),
        about(
            S1_NAMES,
            "backscatter_is_not_negative",
            "minimum",
            minimum=0,
            meaning="smallest scaled dB",
            next_step=f"{backscatter}; plain dB is negative",
        ),
        about(
            ("VV",),
            "vv_is_plausible",
            "median",
            minimum=VV_MEDIAN[0],
            maximum=VV_MEDIAN[1],
            meaning="median of present VV in scaled dB",
            next_step=backscatter,
        ),
        about(
            ("VH",),
            "vh_is_plausible",
            "median",
            minimum=VH_MEDIAN[0],
            maximum=VH_MEDIAN[1],
            meaning="median of present VH in scaled dB",
            next_step=f"{backscatter}; 10 log10 gives such numbers, and so do VV and VH swapped",
        ),
    )


def _row_rules() -> tuple[Rule, ...]:
    """Is each d-pixel of the sample whole, in its place and in order?"""
    return (
        Rule(
            name="pixel_has_acquisitions",
            table="row",
            column="num_s2",
            minimum=1,
            maximum=MAX_SERIES_LENGTH,
            meaning="number of S2 observations of a d-pixel, clear or not",
            next_step="check the source's dates, then ingest again",
        ),
        Rule(
            name="pixel_is_plausible",
            table="row",
            column="brightness",
            minimum=1,
            # One d-pixel may have a single clear date, and that date a missed cloud.
            maximum=REFLECTANCE_MAX,
            meaning="median over clear dates of a d-pixel's mean reflectance x 10000",
            next_step="look for filled pixels or unmasked clouds there",
        ),
        Rule(
            name="pixel_is_in_its_place",
            table="row",
            column="is_on_grid",
            allowed=(True,),
            meaning="agreement of a d-pixel's x, y with the centre of its row and column",
            next_step="look for a transposed or shifted tile (row first), then ingest again",
        ),
        Rule(
            name="pixel_is_in_time_order",
            table="row",
            column="is_in_order",
            allowed=(True,),
            meaning="time order of the days of each series of a d-pixel",
            next_step="sort the dates of the source, then ingest again",
        ),
    )
