"""Features without an encoder: what baselines see of a d-pixel's series.

::

    monthly     twelve values per band      harmonics   seasonal cosines per band
    series      a regular series, for networks that read time
"""
