"""Inspect the values of a call: scalars, members, secrets."""
