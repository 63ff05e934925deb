"""Workarounds for faults of OMMX and Prefect, each with the version it was seen in."""
