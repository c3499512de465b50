"""Prefect flows around the stages, and the adapters that let stages reach the world.

::

    cli/       the ``tessera`` command           settings   every environment variable
    services/  what its commands do              context    root + overrides -> config, paths, ports
    servers/   Prefect's and MLflow's            tasks      one task per stage
    retrain    the whole cycle                   adapters/  MLflow, DVC, Prefect behind the ports
      dataset    ingest, quality, shuffle
      training   pretrain, evaluate
      release    register, export, audit

A flow decides when and where; what happens is decided in ``tessera_core``. Importing this
package loads neither Prefect nor MLflow.
"""
