"""Read shards for training: decode them once to arrays, then gather whole batches.

::

    reader        open the shards of a split      decode       shards to arrays on disk
    from_arrays   a batch from mapped arrays      from_files   a batch read from files
    kernels       compiled loops of both
"""
