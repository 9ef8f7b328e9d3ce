"""Training input: random views, batches, the processes that prepare them. Needs torch."""
