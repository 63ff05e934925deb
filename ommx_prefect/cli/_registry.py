"""See to it that the Local Registry that was asked for is there."""

from __future__ import annotations

import os

from ommx_prefect._catalogue.opened import Opened, id_in, open_image
from ommx_prefect._registry.blobs import ROOT_VARIABLE, registry_root
from ommx_prefect.cli._output import refused


def missing_registry() -> str:
    """Say that the folder which the environment names as Local Registry is none, if it is."""
    if registry_root().is_file():
        return f"{registry_root()} is no Local Registry, but a file: see {ROOT_VARIABLE}"
    if ROOT_VARIABLE not in os.environ or registry_root().exists():
        return ""
    return (
        f"There is no Local Registry {registry_root()}: {ROOT_VARIABLE} names a folder that "
        "does not exist. Is it that of your flows?"
    )


def require_registry() -> None:
    """End with a clear error where it is none: OMMX would make it, and say it is empty."""
    if problem := missing_registry():
        raise refused(problem)


def require_place() -> None:
    """End with a clear error where no Local Registry can be made, into which one could fetch."""
    if registry_root().is_file():
        require_registry()


def open_here(image: str) -> Opened:
    """Open an experiment; the Local Registry must be there unless it can be fetched into a new one.

    Args:
        image: As for `open_image`.
    """
    require_registry() if id_in(image) else require_place()
    return open_image(image)
