"""What embeddings are like before anyone fits a head on them.

::

    spectrum     RankMe, singular values      stability    two date halves of one d-pixel
    uniformity   spread over the sphere       stripes      what orbits leave within a field
    fields       between and within fields    coding       what int8 takes away
    gather       all of them for one model, as plain JSON

Each is one number with a range and a good end, or None with the reason. None of them says that a
version is better: they say where to look when a score is not what it was.

What the embedded default's encoder reads on simulated scenes after 300 steps, and before the first:
RankMe 0.69 and 0.57, uniformity -1.9 and -0.1, field ratio 2.0 and 1.7, stability 0.79 and 0.05,
stripes 0.00 and 0.01, int8 loss 0.008 and 0.03.
"""
