"""List the files of a stage's directory, and link payload into it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container
from pathlib import Path

from ommx_prefect._registry.files import write_whole


def entries_in(folder: Path) -> list[Path]:
    """Return the entries of a folder, without those that are being written."""
    return [folder / name for name in paths_in(folder)]


def paths_in(folder: Path) -> dict[str, str]:
    """Return the paths in a folder by name, without those that are being written."""
    with contextlib.suppress(FileNotFoundError):
        return {name: f"{folder}/{name}" for name in os.listdir(folder) if name[0] != "."}
    return {}


def remove_listed(folder: Path, names: Container[str]) -> None:
    """Remove those files of a folder that have one of these names."""
    for name, path in paths_in(folder).items():
        if name in names:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def has_content(path: Path | str) -> bool:
    """Tell whether a file exists and is not empty; a power failure may leave an empty one."""
    return is_of_size(path, None)


def is_of_size(path: Path | str, size: int | None) -> bool:
    """Tell whether a file is there and has a size; with None, whether it has any content."""
    try:
        found = os.lstat(path).st_size
    except FileNotFoundError:
        return False
    return found > 0 if size is None else found == size


def link_or_copy(source: Path, target: Path) -> None:
    """Link a blob to a second path, or copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except FileNotFoundError:  # the first link here, or a lost blob
        if target.exists():  # `ommx.artifact.gc` took the registry's own
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.link(source, target)
    except OSError:  # no hard links here, or another file system
        write_whole(target, source.read_bytes())
