"""What is written to disk, and how it is named.

::

    files      digests, atomic writes        manifest   the files of one artifact
    schema     sample and scene columns      receipt    what one stage consumed and produced
    samples    tile in memory <-> Parquet    code       which code ran: commit, import closure
    labels     ground truth beside tiles     paths      where everything lives in a workspace
    outcome    what a stage hands back       page       self-contained HTML

A *manifest* lists the files of one artifact and is written last; a *receipt* names manifests
and earlier receipts by digest, which makes the chain that the audit walks.
"""
