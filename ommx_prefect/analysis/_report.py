"""One HTML page about an experiment: verdict, totals, failures, contradictions, all solves.

The page is one file that loads nothing: style, script and figures are in it, and its content policy
allows no other. It opens from a disk, and prints. Every name in it is text, whatever it holds.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment
from markupsafe import Markup
from ommx.experiment import Experiment

from ommx_prefect._registry.whole import whole
from ommx_prefect._values.display import for_terminal
from ommx_prefect.analysis._compare import Comparison, compare
from ommx_prefect.analysis._contradictions import contradictions
from ommx_prefect.analysis._environment import environment_of, environments_of
from ommx_prefect.analysis._pictures import pictures_of
from ommx_prefect.analysis._report_parts import (
    SOLVE_COLUMNS,
    facts_of,
    failures_of,
    filled,
    flattened,
    shown,
    verdict_of,
)
from ommx_prefect.analysis._solves import rows_of, solves
from ommx_prefect.analysis._totals import totals

PAGE, STYLE, SCRIPT = "report.html.j2", "report.css", "report.js"
LONGEST = 2_000
MOST_CHANGES = 200


def write_report(
    night: Experiment,
    path: str | Path,
    *,
    earlier: Sequence[Experiment] = (),
    known: pd.DataFrame | str | Path | None = None,
    name: str | None = None,
) -> Path:
    """Write the report of an experiment as one HTML file, and return its path.

    Args:
        night: A sealed experiment.
        path: The HTML file to write.
        earlier: Earlier nights to compare it with.
        known: Known values: see `known_values`.
        name: What to call the night, where that is not its image name.
    """
    text = report_html(night, earlier=earlier, known=known, name=name)
    Path(path).write_text(text, encoding="utf-8")
    return Path(path)


def report_html(
    night: Experiment,
    *,
    earlier: Sequence[Experiment] = (),
    known: pd.DataFrame | str | Path | None = None,
    name: str | None = None,
) -> str:
    """Return the report of an experiment as HTML; as `write_report`."""
    opened = whole(night)
    name, night = name or night.image_name, opened
    table = solves(night)
    tables = [solves(each) for each in earlier]
    wrong = contradictions(table, known, earlier=tables)
    comparison = _compared(tables, table, [*earlier, night]) if earlier else None
    failures = failures_of(night, table)
    named = dict(zip([x.image_name for x in earlier], tables, strict=True))
    return _rendered(
        name=name,
        night=night,
        verdict=verdict_of(night, table, wrong, comparison, failures),
        facts=facts_of(night),
        totals=totals(table),
        failures=failures,
        contradictions=rows_of(wrong),
        pictures=pictures_of(night, table, named, name),
        earlier=list(named),
        comparison=comparison,
        changes=_changes(comparison),
        solves=rows_of(table[list(SOLVE_COLUMNS)]),
        solve_columns=SOLVE_COLUMNS,
        environment=flattened(environment_of(night) or {}),
    )


def _compared(
    before: Sequence[pd.DataFrame], after: pd.DataFrame, nights: Sequence[Experiment]
) -> Comparison:
    return compare(before, after, environments=[environments_of(each) for each in nights])


def _changes(comparison: Comparison | None) -> list[dict[str, Any]]:
    if comparison is None:
        return []
    changed = comparison.table[comparison.table["verdict"] != "same"]
    return rows_of(changed.sort_values("verdict", ascending=False).head(MOST_CHANGES))


def _rendered(**what: Any) -> str:
    environment = Environment(autoescape=True, finalize=_clean, trim_blocks=True)
    environment.filters["shown"] = shown
    script = _text(SCRIPT)
    policy = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.from_string(_text(PAGE))
    style = Markup(_text(STYLE))
    tools = {"rows_of": rows_of, "filled": filled, "policy": policy}
    return page.render(style=style, script=Markup(script), **tools, **what)


def _text(name: str) -> str:
    return (resources.files("ommx_prefect.analysis") / name).read_text(encoding="utf-8")


def _clean(value: Any) -> Any:
    """Return a text in which no character moves or hides others; markup of our own stays."""
    if isinstance(value, Markup):
        return value
    return for_terminal("" if value is None else value, LONGEST)
