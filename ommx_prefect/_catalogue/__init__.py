"""The experiments that this machine has or can fetch: opened, listed, measured."""
