"""What may be deleted without breaking an audit, and what must stay and for whom.

    receipts behind every version and export ─► content they name ─► stays, with the receipt
    everything that can be made again, or that nobody names ───────► may go, with the reason

Looking is free; deleting takes exactly what was listed and nothing outside the data folders.
"""
