"""Figures of a sealed flow run as data URIs in markdown, which both UIs of Prefect show.

Each has a line above it that says what it shows.
"""

from __future__ import annotations

import base64
import importlib.util
import io
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ommx_prefect._values.display import for_markdown
from ommx_prefect._values.error_texts import describe_error

if TYPE_CHECKING:
    import pandas as pd

NEEDS_PLOTS = "Pictures need matplotlib: install `ommx-prefect[plots]` where flows are sealed."
# On paper white whatever the page: it can be read in the light and in the dark.
PAPER = {"dpi": 90, "facecolor": "white", "format": "png", "metadata": {"Software": None}}


# What a picture shows, for who sees it the first time.
PROFILE = "Performance profile"
TREND = "Trend over the last nights"
CAPTIONS = {
    PROFILE: "the share of instances that a solver solved within a factor of the best seconds",
    TREND: "the geometric mean of the seconds of each solver (shift 10); what it did not solve "
    "counts its whole limit",
}


def pictures(nights: Mapping[str, pd.DataFrame]) -> Iterator[str]:
    """Return the figures of an experiment as markdown: the comparison of solvers, and the trend.

    Args:
        nights: Tables of solves by name of the night, this one last.
    """
    drawn = list(_wanted(nights))
    if drawn and not importlib.util.find_spec("matplotlib"):
        yield NEEDS_PLOTS
        return
    for title, draw in drawn:
        try:
            yield _as_markdown(title, draw())
        except Exception as error:  # a picture is no reason to lose the page
            yield f"{title} was not drawn: `{type(error).__name__}`" + _why(error)


def _wanted(nights: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Callable[[], Any]]]:
    if not nights:
        return
    from ommx_prefect import analysis  # brings pandas, which a night without solves does not need

    table = list(nights.values())[-1]
    solved = table[table["objective"].notna()]
    if (solved.groupby("instance")["adapter"].nunique() > 1).any():
        yield PROFILE, lambda: analysis.plot_profile(table)
    if len(nights) > 1:
        yield TREND, lambda: analysis.plot_trend(nights)


def _as_markdown(title: str, figure: Any) -> str:
    data = io.BytesIO()
    figure.savefig(data, **PAPER)
    source = f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
    return f"**{title}**: {CAPTIONS[title]}\n\n![{title}]({source})\n"


def _why(error: Exception) -> str:
    return f" ({for_markdown(describe_error(error))})"
