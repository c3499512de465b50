"""Made-up data for tests: small, seeded, and different in every axis so that a mix-up shows.

::

    tiles         grids and tiles in memory         directories   a tile as a TESSERA directory
    samples       tiles as a sample set on disk     catalogues    scenes as a static STAC catalogue
    pixels        d-pixels without any file         observations  d-pixels as lists, the slow way
    models        the smallest real model           strategies    d-pixels drawn by hypothesis
    tracker       a tracker in memory               registry      a model registry in memory
    settings      settings of one stage             disk          a disk that is full

Only tests import this package; nothing here reads a clock, a network or an environment.
"""
