"""The Local Registry of OMMX on this machine."""
