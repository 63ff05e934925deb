"""What one attempt of a task leaves behind: its shard."""
