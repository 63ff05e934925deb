"""Prefect's API, its states and its words."""
