"""A repository of an OCI registry, spoken to over HTTP."""
