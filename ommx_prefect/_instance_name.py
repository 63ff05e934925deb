"""What is an instance called in run parameters and errors? As it was loaded, else by its title."""

from __future__ import annotations

from ommx import Instance

from ommx_prefect._instance_digest import instance_digest

_ANNOTATION = "instance_name"


def give_name(instance: Instance, name: str) -> None:
    """Name an instance by a user annotation, which its bytes keep; a title only if it has none."""
    instance.add_user_annotation(_ANNOTATION, name)
    if not instance.title:
        instance.title = name


def instance_name(instance: Instance) -> str:
    """Return the name `load_instance` gave, else the title, else 12 digits of the digest."""
    named = instance.annotations.get(f"org.ommx.user.{_ANNOTATION}")
    return named or instance.title or instance_digest(instance).partition(":")[2][:12]
