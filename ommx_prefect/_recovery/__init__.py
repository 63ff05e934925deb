"""How flow runs are sealed whose hook never ran."""
