"""Talk to a repository of an OCI registry over HTTP."""
