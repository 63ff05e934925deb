"""Which experiment an attempt belongs to, and under which name."""
