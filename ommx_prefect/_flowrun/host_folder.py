"""The folder of small files by which processes of one user on one host notify each other.

It lies where temporary files do, and everybody may write there. So a folder that somebody else made
under its name, or a link to another one, is never used: what is old in it is removed.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from ommx_prefect._registry.files import PRIVATE_FOLDER, make_folder


def host_folder(name: str) -> Path:
    """Return a folder that this user alone may enter; it is made where it is missing.

    Raises:
        OSError: It cannot be made, or is somebody else's.
    """
    who = os.getuid() if hasattr(os, "getuid") else "user"
    above = Path(tempfile.gettempdir(), f"ommx-prefect-{who}")
    for folder in (above, above / name):
        make_folder(folder)
        _require_own(folder)
    return above / name


def _require_own(folder: Path) -> None:
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
        raise PermissionError(f"{folder} is no folder of this user")
    if stat.S_IMODE(found.st_mode) & ~PRIVATE_FOLDER:
        folder.chmod(PRIVATE_FOLDER)
