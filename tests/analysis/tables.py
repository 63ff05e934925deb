"""Tables of solves, as `solves` returns them, written by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ommx_prefect.analysis._solves import COLUMNS

SHORT = ("instance", "adapter", "outcome", "objective", "seconds", "limit")


def solve_table(*rows: tuple[Any, ...], **same: Any) -> pd.DataFrame:
    """A table of minimisations, whose rows begin with the columns of `SHORT`."""
    known = {"experiment": "e", "sense": "minimize", "variant": "", **same}
    dicts = [
        {**known, "run": number, **dict(zip(SHORT, row, strict=False))}
        for number, row in enumerate(rows)
    ]
    return pd.DataFrame(dicts, columns=list(COLUMNS)).astype(COLUMNS)
