"""Everything built on receipts: audit, replay, recall, attestation and retention."""
