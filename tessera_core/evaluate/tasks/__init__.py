"""The tasks that an encoder is scored on.

::

    result          what a task hands back, scored or skipped with a reason
    crop_type       classification of fields, with the label-efficiency curve
    canopy_height   regression of forest height

A task takes d-pixels with truth and their features and knows no file.
"""
