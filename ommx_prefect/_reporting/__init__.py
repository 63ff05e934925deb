"""Report sealed flow runs in Prefect: events for automations, and pages for people."""
