"""The verbs for notebooks and scripts, a thin layer on the rooms below; no checkout needed.

::

    models      a model by folder, released file or registered version
    open        samples, a tile directory, an export as xarray
    embed       a model and observations to embeddings
    points      labelled points from GeoPackage, GeoJSON or Parquet
    sample      an export's embeddings at points
    probe       what a linear head makes of them, beside the most frequent class
    agree       how far two models or two exports agree

Import the names from ``tessera_core`` itself; these modules may move.
"""
