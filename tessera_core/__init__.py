"""Turn Sentinel-1/2 pixel years into embeddings, and prove where each one came from.

Nouns live in ``domain`` (numpy) and ``records`` (pyarrow); one package per stage stands on
them; ``stages`` names the stages that the command line and the Prefect flows both drive::

    ingest -> quality -> shuffle -> pretrain -> evaluate -> register -> export -> audit

Importing this package loads no heavy library.
"""

__version__ = "0.1.0"
