"""One call of a solver: its options, its run, what is seen of it, and what came of it."""
