"""What a version or an export is, in the documents that other people's tools read.

``subject`` gathers the receipts behind it from the lineage; each other module writes one
standard from them, as a pure function::

    lineage -> subject -> intoto, cyclonedx, openlineage, croissant, crate, cards
                              |                     |
                           signing  <- digests of all documents -> folder

Every byte follows from receipts and manifests: no clock, no host, no database.
"""
