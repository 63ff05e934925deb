"""Prefect's `task` and `flow`, recording."""
