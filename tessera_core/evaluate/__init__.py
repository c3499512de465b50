"""Encoder to scores: heads on frozen embeddings, with intervals, figures and a report.

::

    sources -> draft -> gather -> prepare -> score -> job (one evaluation, sealed) -> stage
    parts      units    examples  classes    one task        versions (two models, compared)

    examples, splits     what is scored, and who is on which side
    features/, heads/    what baselines see; small models that fit and predict
    lineup, featurise    which models a task is scored with, and what they see
    chips                segmentation: models that see whole chips
    estimates, curve     intervals over groups; how few labels are enough
    diagnostics/         rank, fields, stability, stripes, int8
    bridge/              can embeddings of two versions be mixed?
    figures, pair_figures, mosaic, report, comparison_page, words, tracking    for people

Tasks are declared in ``data/benchmarks``. Groups go whole to one side of every split, and every
score stands beside an untrained encoder of the same shape and models of the raw series. A task
without data or enough labels is skipped with its reason, which the report repeats.
"""
