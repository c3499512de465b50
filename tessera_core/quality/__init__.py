"""The gate before training: is this data fit to learn from?

``statistics`` passes once over every observation of every tile and keeps a few numbers,
``expectations`` declares the rules for them, ``gx`` lets Great Expectations judge, and
``report`` writes what was found for people and for programs. ``stage`` stops the cycle when a
rule fails, after the report is written; nothing here changes a sample.

::

    samples --> measures --> statistics --> tables --> gx <-- rule <-- expectations <-- settings
                                                       |
                                                       v
                             report.json, report.html, statistics.parquet --> pass or GateError
"""
