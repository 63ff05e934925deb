"""Where an experiment is published: in the Local Registry, or in an OCI registry."""
