"""Shards to encoder: the loop on one page, and the small parts it calls.

::

    batches     which d-pixels and which two views a step sees, as a pure function of the step
    schedule    learning rate              checkpoint   stop and go on, exactly
    health      refuse a loss that is not finite
    probe       linear probe on frozen embeddings, to watch learning
    loop        the training loop
"""
