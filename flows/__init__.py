"""Prefect flows around the stages, and the adapters that let stages reach the world.

::

    cli        the ``tessera`` command           settings   every environment variable
    retrain    the whole cycle                   context    root + overrides -> config, paths, ports
      dataset    ingest, quality, shuffle        tasks      one task per stage
      training   pretrain, evaluate              adapters/  MLflow, DVC, Prefect's mapped tasks
      release    register, export, audit

A flow decides when and where; what happens is decided in ``tessera_core``. Importing this
package loads neither Prefect nor MLflow.
"""
