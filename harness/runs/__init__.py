"""Who runs what: the record of a run in its results folder, its heartbeat and status, and shards."""
