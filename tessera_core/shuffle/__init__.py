"""Samples of all tiles to globally shuffled shards, split by spatial block.

::

    plan    which block goes to which split, in which order the d-pixels stand
    norms   statistics of the train split only
    write   shards and manifest            reader   shards to a memory-mapped feed

    materialise   shards to arrays on disk
    gather  a batch from mapped arrays     fetch    a batch from files, holding nothing
    kernels       the compiled loops of both
"""
