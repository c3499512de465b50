"""The model: one parametrised encoder family, its training-only projector, its artifact.

::

    tokens      stored observations -> normalised tokens + day of year
    encoder     tokens -> embedding           projector   embedding -> projection (training only)
    objectives  two projections -> loss       spectrum    how many directions an embedding uses
    artifact    encoder + norms + canaries on disk, one digest
    embed       d-pixels -> embeddings, for evaluation and export alike
"""
