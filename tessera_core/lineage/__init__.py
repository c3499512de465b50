"""What stands on what: receipts read, checked, run again, recalled, attested and cleared away."""
