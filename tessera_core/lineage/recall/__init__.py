"""What saw a bad scene, how much of it, and what has to run again.

    lineage ─► subject ─► trace ─► exposure ─► plan ─► recall.json, stamps
               which      forward   how much    which
               scenes     by digest of it       stages

Receipts and manifests say what stands on what; scenes tables say which acquisitions a tile has.
Nothing is deleted: what was recalled gets a stamp in the lineage.
"""
