"""Walk the receipts backwards from an export and check every byte they name.

``chain`` follows the receipts, ``evidence`` finds and hashes the files, ``checks`` compares what
the receipts say of each other; ``certificate`` tells the result to people and machines::

    export -> register -> champion's pretrain, evaluate -> shuffle -> quality -> ingest -> scenes
                   every arrow is a sha256, every file is read once

Nothing here trusts a database, a tag or a file's date.
"""
