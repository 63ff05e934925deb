"""The name of an instance: that under which it was loaded, else its title."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath

from ommx import Instance, ParametricInstance

from ommx_prefect.instances._digest import instance_digest

_ANNOTATION = "instance_name"


def give_name(instance: Instance, name: str) -> None:
    """Name an instance by a user annotation, which its bytes keep; a title only if it has none."""
    instance.add_user_annotation(_ANNOTATION, name)
    if not instance.title:
        instance.title = name


def given_name(instance: Instance) -> str:
    """Return the name `load_instance` gave, else the title, else nothing."""
    return instance.annotations.get(f"org.ommx.user.{_ANNOTATION}") or instance.title or ""


def instance_name(instance: Instance, digest: Callable[[], str] | None = None) -> str:
    """Return the name `load_instance` gave, else the title, else 12 digits of the digest.

    Args:
        instance: The instance.
        digest: Gives its `instance_digest`, where it is made for something else, too.
    """
    if name := given_name(instance):
        return name
    return (digest() if digest else instance_digest(instance)).partition(":")[2][:12]


def require_instance(value: object) -> None:
    """Refuse what is no instance, and say how to come by one.

    Raises:
        TypeError: It is none.
    """
    if isinstance(value, Instance):
        return
    what = "None" if value is None else f"of type {type(value).__name__}"
    raise TypeError(f"The instance is {what}. Pass {_instead_of(value)}")


def _instead_of(value: object) -> str:
    if isinstance(value, ParametricInstance):
        return "its .with_parameters({...})."
    if isinstance(getattr(value, "instance", None), Instance):
        return "its .instance."
    load = "ommx_prefect.instances.load_instance"
    if isinstance(value, (str, PurePath)):
        return f"an ommx.Instance: {load}({str(value)!r}).instance if this is a file or data set."
    return f"an ommx.Instance; {load}(path).instance loads one from a file."
