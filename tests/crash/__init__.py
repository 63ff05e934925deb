"""The crash suite: real processes are killed, and what is sealed is compared with a journal."""
