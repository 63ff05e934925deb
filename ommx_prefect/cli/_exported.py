"""The files that an export writes, and their sources."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any

import pandas as pd
from ommx.experiment import Experiment, SealedRun

from ommx_prefect._catalogue.contents import attachments_of
from ommx_prefect._catalogue.opened import Opened
from ommx_prefect._catalogue.safe_names import safe_name, unique_name
from ommx_prefect.analysis import contradictions, solves, totals, write_solu, write_trc
from ommx_prefect.cli._output import plain
from ommx_prefect.cli._waiting import Work

INDEX = "export.json"
ATTACHMENTS = "attachments"
NO_PARQUET = "No parquet files: pip install pyarrow"
MEDIA_TYPES = {
    ".csv": "text/csv",
    ".parquet": "application/vnd.apache.parquet",
    ".solu": "text/plain",
    ".trc": "text/plain",
}


@dataclass
class Exported:
    """What was written.

    Attributes:
        folder: Where to.
        document: What `export.json` says: the experiment, and its `files`.
        notes: What was left out.
    """

    folder: Path
    document: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    @property
    def files(self) -> list[dict[str, Any]]:
        """One entry for each file: path, media type, size, sha256, and what it was called."""
        files: list[dict[str, Any]] = self.document["files"]
        return files

    def add(self, path: str, media_type: str, **said: Any) -> None:
        """Add a file that was written to the index."""
        data = (self.folder / path).read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        facts = {"path": path, "media_type": media_type, "bytes": len(data), "sha256": digest}
        self.files.append({**facts, **said})


def export_files(opened: Opened, folder: Path, work: Work) -> Exported:
    """Write the tables, the exchange formats, the attachments, and the index of all of it."""
    folder.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {
        "image": opened.name,
        "digest": opened.digest,
        "status": opened.experiment.status,
        "reason": opened.experiment.lifecycle_reason,
        "annotations": dict(opened.experiment.annotations),
        "files": [],
    }
    made = Exported(folder, document)
    _tables(opened.experiment, made)
    _attachments(opened, made, opened.experiment, None)
    for run in opened.experiment.runs:
        _attachments(opened, made, run, run.run_id)
        work.advance()
    (folder / INDEX).write_text(json.dumps(plain(document), indent=1), encoding="utf-8")
    return made


def _tables(experiment: Experiment, made: Exported) -> None:
    table = solves(experiment)
    tables = {
        "parameters": _parameters(experiment),
        "solves": table,
        "totals": totals(table),
        "contradictions": contradictions(table),
    }
    for name, each in tables.items():
        _write(made, f"{name}.csv", partial(each.to_csv, index=False))
    if importlib.util.find_spec("pyarrow") is None:
        made.notes.append(NO_PARQUET)
    else:
        for name in ("parameters", "solves"):
            _write(made, f"{name}.parquet", tables[name].to_parquet)
    _write(made, "solves.solu", partial(write_solu, table))
    _write(made, "solves.trc", partial(write_trc, table))


def _parameters(experiment: Experiment) -> pd.DataFrame:
    """Return one row for each Run: its id, under a name that no parameter has, and parameters."""
    table = experiment.run_parameters_df()
    names = chain(("run",), (f"run_id{'_' * n}" for n in count()))
    name = next(x for x in names if x not in table)
    return table.rename_axis(name).reset_index()


def _write(made: Exported, name: str, write: Callable[[Path], object]) -> None:
    write(made.folder / name)
    made.add(name, MEDIA_TYPES[Path(name).suffix])


def _attachments(
    opened: Opened, made: Exported, holder: Experiment | SealedRun, run_id: int | None
) -> None:
    facts = attachments_of(opened, run_id)
    place = Path(ATTACHMENTS) / ("experiment" if run_id is None else f"run-{run_id:05d}")
    taken: set[str] = set()
    for each in facts:
        media_type = holder.attachment_media_type(each.name)  # of the file: it is not compressed
        name = unique_name(safe_name(each.name, media_type, each.filename), taken)
        (made.folder / place).mkdir(parents=True, exist_ok=True)
        (made.folder / place / name).write_bytes(holder.get_blob(each.name))
        path = (place / name).as_posix()
        made.add(path, media_type, attachment=each.name, run=run_id)
