"""Who runs what: the record that a run leaves in its results folder, its heartbeat, its status, and shards."""
