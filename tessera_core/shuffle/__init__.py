"""Samples of all tiles to globally shuffled shards, split by spatial block.

::

    assignment   which block goes to which split, in which order the d-pixels stand
    norms        statistics of the train split only
    write        shards and manifest

``tessera_core.feed`` reads the shards.
"""
