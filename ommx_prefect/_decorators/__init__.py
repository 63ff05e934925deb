"""The `task` and `flow` decorators: Prefect's own, and what runs under them is recorded."""
