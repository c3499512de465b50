"""What reaches the terminal of a command: our own lines, and nothing that a library has to say."""

import logging
import sys
from typing import Final

OURS: Final = ("tessera_core", "flows")
"""Loggers whose messages are for the user."""


class _Terminal(logging.Handler):
    """Writes to the stream that is standard error at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        sys.stderr.write(f"tessera: {record.getMessage()}\n")
        sys.stderr.flush()


def keep_for_ourselves() -> None:
    """Send warnings and log messages of libraries nowhere, and ours to standard error.

    Every process of ours that has a terminal calls this first. ``python -W default`` or
    ``PYTHONWARNINGS=default`` shows warnings all the same. What a library cannot do becomes an
    exception, and that is never kept back.
    """
    if not sys.warnoptions:
        logging.captureWarnings(True)
    # Loggers without a level of their own take this one.
    logging.getLogger().setLevel(logging.CRITICAL)
    for name in OURS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        if not logger.handlers:
            logger.addHandler(_Terminal())
