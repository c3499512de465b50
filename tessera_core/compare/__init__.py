"""Two versions of a model side by side."""
