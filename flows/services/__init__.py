"""One module per command: prepare inputs, call the core, return what the command prints."""
