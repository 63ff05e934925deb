"""Which submitted tasks left no record here: never silently, for nothing else would tell.

A worker with another Local Registry, out of reach of this one, records there. A worker that cannot
take a task up (it cannot import the task's module, say) leaves no trace even in Prefect's API.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ommx_prefect._prefect_api import TaskRunRow

MOST_NAMED = 3


def unrecorded(submitted: Collection[str], rows: Mapping[str, TaskRunRow]) -> list[str]:
    """Return warnings about recorded tasks that were submitted and have no Run.

    Args:
        submitted: Ids of their task runs.
        rows: What Prefect's API knows, by id.
    """
    ended = [rows[x] for x in submitted if x in rows and rows[x].status in ("finished", "failed")]
    unknown = len(set(submitted) - rows.keys())
    found = []
    if ended:
        found.append(
            f"degraded: {len(ended)} task runs ended, and their records are out of reach "
            f"({_named(ended)}): their workers have another Local Registry; give them the same "
            "OMMX_LOCAL_REGISTRY_ROOT, or the flow a stage that all hosts reach"
        )
    if unknown:
        found.append(
            f"{unknown} task runs were submitted and never began: Prefect does not know them"
        )
    return found


def _named(rows: Sequence[TaskRunRow]) -> str:
    names = sorted(f"{row.name}: {row.state}" for row in rows)
    more = [f"and {len(names) - MOST_NAMED} more"] if len(names) > MOST_NAMED else []
    return ", ".join([*names[:MOST_NAMED], *more])
