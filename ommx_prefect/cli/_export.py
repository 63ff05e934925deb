"""Write what an experiment holds as plain files: `export IMAGE DIR`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ommx_prefect.cli._crate import write_crate
from ommx_prefect.cli._exported import Exported, export_files
from ommx_prefect.cli._options import AsJson, Image
from ommx_prefect.cli._output import print_json, refused, say, shown_bytes
from ommx_prefect.cli._registry import open_here
from ommx_prefect.cli._waiting import working


def export_command(
    image: Image,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is new or empty.")],
    ro_crate: Annotated[
        bool,
        typer.Option("--ro-crate", help="Make it a Workflow Run RO-Crate (library rocrate)."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write run parameters and solves as CSV and parquet, attachments as files, .solu and .trc.

    Attachments get file names that every system takes; `export.json` says which is which.
    """
    opened = open_here(image)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise refused(f"{folder} is there, and not empty")
    try:
        with working(f"writing {folder}") as work:
            made: Exported = export_files(opened, folder, work)
            if ro_crate:
                write_crate(opened, folder, made)
    except OSError as error:
        raise refused(f"{folder} cannot be written: {error}") from error
    if as_json:
        print_json(made.document)
        return
    size = sum(each["bytes"] for each in made.files)
    say(f"{folder}: {len(made.files)} files, {shown_bytes(size)}")
    for note in made.notes:
        say(note, "yellow")
