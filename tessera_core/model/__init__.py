"""The model: one parametrised encoder family, its training-only projector, its artifact.

::

    shape       one member of the family      releases    the published ones, with norms and rules
    layers, pooling, encoder                  tokens -> embedding
    checkpoint, infer_shape                   a released .pt file -> encoder and config
    tokens      observations -> normalised tokens + day of year, for training
    sequences, plan, embed                    d-pixels -> embeddings, for all who need them
    projector, objectives, quantisation       what only training has
    artifact    encoder + config + norms + canaries on disk, one digest
    spectrum    how many directions an embedding uses
"""
