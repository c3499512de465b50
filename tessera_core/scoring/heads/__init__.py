"""Heads: small models that fit on frozen features of training rows and predict test rows.

::

    constant    majority, mean                     neighbours   kNN
    linear      logistic regression, ridge         forest, boosting
    mlp         three layers                       multilabel   one answer per label
    few_shot    looks at unlabelled rows too       temporal_cnn on raw series
    context     5 x 5 neighbourhood                unet         whole chips

A head is ``(train features, train truth, test features) -> predicted truth``, has no settings that
a version could be tuned by, and draws its chance from a seed of its own.
"""
