"""Simulate a year of Sentinel-1/2 scenes over a landscape whose truth is known.

::

    landscape --> ground, day by day --+--> optical (sky, SCL) --+--> static STAC catalogue
    phenology --/       weather -------+--> radar (speckle) -----/        + labels/

The catalogue has the structure of Planetary Computer's ``sentinel-2-l2a`` and
``sentinel-1-rtc``, so that a run on it takes the same code as one on real scenes. Its results
prove the machinery, never the science.
"""

from tessera_core.simulate.catalogue import simulate, write_catalogue
from tessera_core.simulate.config import SimulateConfig

__all__ = ["SimulateConfig", "simulate", "write_catalogue"]
