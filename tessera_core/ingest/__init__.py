"""Scenes to samples: one Parquet file of d-pixels per tile and year.

::

    sources/stac    static catalogue or API of Sentinel items
    sources/tiles   TESSERA d-pixel directories
    rasters         windowed reads onto a tile's grid
    stage           source -> tile series -> samples and scenes tables
"""
