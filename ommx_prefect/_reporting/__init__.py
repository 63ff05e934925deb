"""What people and automations are told of a night: events and pages."""
