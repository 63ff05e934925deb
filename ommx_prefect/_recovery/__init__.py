"""Seal flow runs whose hook never ran."""
