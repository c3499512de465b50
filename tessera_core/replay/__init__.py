"""Run a version's stages again and say whether the same came out.

``compare`` judges one stage by the digests of its outputs, ``equivalence`` two models by what they
say of the same d-pixels, ``report`` tells the result. Restoring code and running stages is the
business of ``flows.replay``.
"""
