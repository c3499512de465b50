"""Declared tasks: where their d-pixels come from, what is true of them, who may learn from whom."""
