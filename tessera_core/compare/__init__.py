"""Two versions of a model: ``versions`` compares their scores, ``bridge`` maps their spaces."""
