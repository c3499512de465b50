"""Nouns of the field as validated numpy types and pure functions; no files, no torch.

::

    bands  scl  backscatter  reflectance     what one measured value means
    tile  dpixel  grid  norms                what a tile, a pixel, a block, a normalisation are
    sampling  mixing  embedding              what a model is shown and what it produces
    scores  bootstrap                        metrics and their intervals
"""
