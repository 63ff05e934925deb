"""Where the shards of a flow run wait until they are sealed."""
