"""State that all threads of a process share: bounded tables, and locks that survive a fork."""
