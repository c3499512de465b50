"""The read side of training: shards decoded once, then gathered in whole batches."""
