"""Where an experiment is published: the Local Registry, or an OCI registry."""
