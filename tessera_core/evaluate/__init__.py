"""Encoder to scores: heads on frozen embeddings, with intervals, figures and a report.

::

    job     score all tasks of one model into one sealed folder (benchmarks, scoring, diagnostics)
    ahead   fit the baselines while the model is still being trained
    stage   the stage around the job
    tracking    what a run's page shows of an evaluation

Tasks are declared in ``data/benchmarks``. Groups go whole to one side of every split, and every
score stands beside an untrained encoder of the same shape and models of the raw series. A task
without data or enough labels is skipped with its reason, which the report repeats.
"""
