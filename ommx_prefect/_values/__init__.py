"""What the values of a call hold: scalars, members, secrets."""
