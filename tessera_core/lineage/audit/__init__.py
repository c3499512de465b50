"""Walk the receipts backwards from an export or a version and check every byte they name.

``subject`` finds where to start, ``chain`` follows the receipts, ``evidence`` finds and hashes the
files, ``checks`` compares what the receipts say of each other, ``comparisons`` looks at what the
gate looked at; ``decisions``, ``signatures`` and ``stamps`` add who overruled it, what nobody
signed and what was recalled since. ``certificate`` and ``graph`` tell the result to people and
machines. ``pixel`` does the same for the path of one pixel; ``pointers`` and ``locks`` say where
a registry or DVC disagrees::

    export -> register -> champion's pretrain, evaluate -> shuffle -> quality -> ingest -> scenes
                   every arrow is a sha256, every file is read once

Nothing here trusts a database, a tag or a file's date, and nothing that is missing passes unsaid.
"""
