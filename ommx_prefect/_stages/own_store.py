"""Load stores of other packages for stages of their own scheme, by entry point.

    [project.entry-points."ommx_prefect.stores"]
    redis = "my_package:open_store"

With that, `flow(stage="redis://host/shards")` calls `my_package.open_store("redis://host/shards")`,
once in each process that needs the store: entry points are there in workers and on the command
line, too, where nothing of the flow's module has been imported.
"""

from __future__ import annotations

import functools
from importlib.metadata import entry_points

from ommx_prefect._stages.address import scheme_of
from ommx_prefect._stages.store import Store
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect.exceptions import StageError

GROUP = "ommx_prefect.stores"


@functools.lru_cache(maxsize=64)
def open_own_store(stage: str) -> Store:
    """Open the store of a stage `scheme://...`, once per process.

    Raises:
        StageError: No package brings one, or it cannot be opened.
    """
    scheme = scheme_of(stage)
    found = tuple(entry_points(group=GROUP, name=scheme))
    if not found:
        reason = f"no installed package has the entry point {scheme!r} in the group {GROUP!r}"
        raise StageError(stage, f"{reason}, which opens stages of that scheme")
    try:
        store: Store = found[0].load()(stage)
    except Exception as error:
        reason = f"{found[0].value} cannot open it: {describe_error(error)}"
        raise StageError(stage, reason) from error
    return store
