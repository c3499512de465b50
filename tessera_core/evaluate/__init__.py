"""Encoder to scores: probes on frozen embeddings, with intervals, figures and a report.

::

    labelled     d-pixels with truth, embedded       features    the baseline without an encoder
    tasks/       crop_type, canopy_height            probes      linear, kNN, forest, ridge
    curve        how few labels are enough           statistics  bootstrap over fields
    predictions  out-of-fold predictions on disk     tracking    scores as flat metrics
    mosaic       tiles and embeddings as pictures    figures, report

Fields and blocks go whole to one side of every split, and every score stands beside an
untrained encoder of the same shape and a random forest on the raw series.
A task without enough labels is skipped with its reason, which the report repeats.
"""
