"""What a process remembers between its threads, and what a fork of it finds free."""
