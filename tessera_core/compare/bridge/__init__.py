"""Whether embeddings of a new version can stand beside those of the old one, or be brought there.

::

    maps        identity, rotation and affine map from one version's space into the other's
    alike       what needs no map: CKA, shared neighbours
    verdict     compatible, bridgeable or incompatible, with the error on groups never fitted on
    compare     two models on the same d-pixels: bridge, size, arithmetic, time
    stored      both in a folder, and read back

A bridge leads from the challenger to the champion: heads and thresholds that were fitted on the
champion's embeddings go on working on mapped ones. For the other direction, to take an archive of
old embeddings along, swap the two.
"""
