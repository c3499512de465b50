"""The ``tessera`` command line: parsers and one function per command."""
