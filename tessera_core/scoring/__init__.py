"""Heads, features without an encoder, label curves, and the scores of all of them."""
