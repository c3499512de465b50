"""Models on frozen embeddings and beside them, and what they score."""
