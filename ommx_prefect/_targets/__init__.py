"""Publish an experiment: in the Local Registry, or in an OCI registry."""
