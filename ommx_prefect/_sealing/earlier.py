"""The contents that an experiment took over from earlier nights, kept apart from its own.

Their Runs come first, under the ids that they had; their ledgers are the `nights` of this one's.
What their flow bodies attached stands under `earlier/<flow run id>/<name>`, so that the plain name
is this night's, and nothing is lost when the image of that night is removed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ommx_prefect._format.model import Attachments, Descriptor, Documents
from ommx_prefect._sealing.ledger import EarlierNight, Entry
from ommx_prefect._shards import columns

FOLDER = "earlier"
# The warning of an experiment that was to hold the Runs of the nights before, and does not.
LEFT_OUT = "degraded: the Runs of earlier nights are not in this experiment"


@dataclass(frozen=True)
class Earlier:
    """The contents that an experiment took over from earlier nights.

    Attributes:
        subject: The experiment that it follows; None where it follows none.
        entries: The Runs that it holds of them, whose ids are 0 and up.
        nights: What their ledgers say, the oldest first.
        attachments: What their flow bodies logged.
        documents: The image that this is taken from, where this seal takes it.
        note: Why it is left out, where it is.
    """

    subject: Descriptor | None = None
    entries: Sequence[Entry] = ()
    nights: tuple[EarlierNight, ...] = ()
    attachments: Attachments = field(default_factory=Attachments)
    documents: Documents | None = None
    note: str = ""

    @property
    def solves(self) -> int:
        """How many Solves their Runs hold."""
        return sum(len(entry.record.solves) for entry in self.entries)

    def left_out(self, why: str) -> Earlier:
        """Return only the experiment that is followed, and why nothing is taken over."""
        where = f", but in {self.subject.digest}, which it follows" if self.subject else ""
        return Earlier(self.subject, note=f"{LEFT_OUT}{where}: {why}")


def with_flow_run(entries: Iterable[Entry], flow_run_id: str) -> list[Entry]:
    """Return the Runs of a night, each with the id of its flow run as a parameter."""
    return [_with_column(entry, flow_run_id) for entry in entries]


def _with_column(entry: Entry, flow_run_id: str) -> Entry:
    parameters = {**entry.record.parameters, columns.FLOW_RUN_ID: flow_run_id}
    record = dataclasses.replace(entry.record, parameters=parameters)
    return dataclasses.replace(entry, record=record)


def moved(attachments: Attachments, flow_run_id: str) -> Attachments:
    """Return the attachments of a night under `earlier/<flow run id>/`."""
    folder = _folder_of(flow_run_id)
    return Attachments(
        {folder + name: layer for name, layer in attachments.entries.items()},
        {folder + name: file for name, file in attachments.filenames.items()},
    )


def joined(*attachments: Attachments) -> Attachments:
    """Join attachments whose names differ."""
    return Attachments(
        {name: layer for each in attachments for name, layer in each.entries.items()},
        {name: file for each in attachments for name, file in each.filenames.items()},
    )


def split(found: Attachments, nights: Iterable[EarlierNight]) -> tuple[Attachments, Attachments]:
    """Return an experiment's own attachments, and those taken over from earlier nights."""
    folders = tuple(_folder_of(night.flow_run_id) for night in nights)
    theirs = {name for name in found.entries if folders and name.startswith(folders)}
    return _only(found, found.entries.keys() - theirs), _only(found, theirs)


def _only(found: Attachments, names: Iterable[str]) -> Attachments:
    wanted = frozenset(names)
    return Attachments(
        {name: layer for name, layer in found.entries.items() if name in wanted},
        {name: file for name, file in found.filenames.items() if name in wanted},
    )


def _folder_of(flow_run_id: str) -> str:
    return f"{FOLDER}/{flow_run_id}/"
