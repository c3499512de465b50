"""The crops of the landscape and their usual course through the year.

Crops overlap on purpose, and fields of one crop differ by weeks (``phenology.py``): no single
date tells the winter cereals or the summer crops apart, the course of the year does.
"""

from dataclasses import dataclass
from typing import Final

NEVER: Final = 999.0
"""A day beyond the year, for events that do not happen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """The usual course of one crop; days are days of year."""

    code: int
    """Code in the crop map, FAO's indicative crop classification as WorldCereal writes it."""

    name: str
    """Name in the legend."""

    share: float
    """Share of the crop fields, 0..1."""

    winter_lai: float
    """Leaf area index in January; 0 for crops sown in spring."""

    green_up_day: float
    """Middle of the rise."""

    green_up_days: float
    """Steepness of the rise: its logistic scale in days."""

    peak_lai: float
    """Leaf area index at its highest."""

    senescence_day: float
    """Middle of the fall."""

    senescence_days: float
    """Steepness of the fall: its logistic scale in days."""

    harvest_day: float
    """After it, stubble."""

    flower_day: float
    """Middle of flowering, or ``NEVER`` where flowers do not show from above."""

    flower_share: float
    """Canopy hidden by flowers at the height of flowering, 0..1."""

    paleness: float
    """Low chlorophyll content, 0 lush .. 1 pale."""

    near_infrared: float
    """Relative near-infrared brightness of the canopy: flat leaves above 1, upright below."""

    volume_vh_db: float
    """VH backscatter of a closed canopy in dB."""

    stem_loss_db: float
    """VV lost in upright stems of a closed canopy in dB."""


def _crop(code: int, name: str, share: float, /, **course: float) -> Crop:
    return Crop(code=code, name=name, share=share, **course)


# Calendar of central Europe in round numbers; canopy contrasts from general remote-sensing
# knowledge, drawn together until a raw-series forest scored 0.65-0.80 (tests/bench).
CROPS: Final = (
    _crop(
        1110, "winter wheat", 0.24,
        winter_lai=0.7, green_up_day=106, green_up_days=11, peak_lai=4.4,
        senescence_day=187, senescence_days=7, harvest_day=207,
        flower_day=NEVER, flower_share=0.0, paleness=0.35, near_infrared=0.97,
        volume_vh_db=-17.0, stem_loss_db=4.0,
    ),
    _crop(
        1200, "maize", 0.20,
        winter_lai=0.0, green_up_day=172, green_up_days=9, peak_lai=4.2,
        senescence_day=252, senescence_days=9, harvest_day=272,
        flower_day=NEVER, flower_share=0.0, paleness=0.4, near_infrared=0.95,
        volume_vh_db=-15.8, stem_loss_db=0.6,
    ),
    _crop(
        1510, "winter barley", 0.12,
        winter_lai=0.9, green_up_day=97, green_up_days=11, peak_lai=4.2,
        senescence_day=168, senescence_days=7, harvest_day=185,
        flower_day=NEVER, flower_share=0.0, paleness=0.42, near_infrared=0.98,
        volume_vh_db=-16.8, stem_loss_db=3.6,
    ),
    _crop(
        4350, "winter rapeseed", 0.11,
        winter_lai=1.2, green_up_day=94, green_up_days=10, peak_lai=4.6,
        senescence_day=178, senescence_days=8, harvest_day=196,
        flower_day=122, flower_share=0.38, paleness=0.38, near_infrared=1.0,
        volume_vh_db=-14.8, stem_loss_db=2.0,
    ),
    _crop(
        8100, "sugar beet", 0.10,
        winter_lai=0.0, green_up_day=164, green_up_days=10, peak_lai=4.5,
        senescence_day=292, senescence_days=14, harvest_day=288,
        flower_day=NEVER, flower_share=0.0, paleness=0.25, near_infrared=1.04,
        volume_vh_db=-14.9, stem_loss_db=0.3,
    ),
    _crop(
        4100, "soy", 0.09,
        winter_lai=0.0, green_up_day=178, green_up_days=9, peak_lai=4.2,
        senescence_day=251, senescence_days=7, harvest_day=270,
        flower_day=NEVER, flower_share=0.0, paleness=0.32, near_infrared=1.1,
        volume_vh_db=-16.4, stem_loss_db=0.5,
    ),
    _crop(
        4380, "sunflower", 0.08,
        winter_lai=0.0, green_up_day=166, green_up_days=9, peak_lai=3.8,
        senescence_day=239, senescence_days=8, harvest_day=259,
        flower_day=200, flower_share=0.10, paleness=0.46, near_infrared=1.0,
        volume_vh_db=-14.0, stem_loss_db=1.2,
    ),
    _crop(
        5100, "potato", 0.06,
        winter_lai=0.0, green_up_day=156, green_up_days=9, peak_lai=4.0,
        senescence_day=228, senescence_days=10, harvest_day=255,
        flower_day=NEVER, flower_share=0.0, paleness=0.24, near_infrared=1.03,
        volume_vh_db=-14.2, stem_loss_db=0.3,
    ),
)  # fmt: skip

GRASS: Final = _crop(
    0, "grassland", 0.0,
    winter_lai=1.2, green_up_day=92, green_up_days=12, peak_lai=3.4,
    senescence_day=318, senescence_days=18, harvest_day=NEVER,
    flower_day=NEVER, flower_share=0.0, paleness=0.45, near_infrared=0.98,
    volume_vh_db=-17.2, stem_loss_db=1.0,
)  # fmt: skip
