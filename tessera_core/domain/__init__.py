"""Nouns of the field as validated numpy types and pure functions; no files, no torch.

::

    bands  scl  backscatter  reflectance     what one measured value means
    tile  grid  norms                        what a tile, a block and a normalisation are
    views  mixing  embedding                 what training draws and what it produces
"""
