"""Figures of a sealed flow run as data URIs in markdown, which both UIs of Prefect show."""

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
    from ommx_prefect import analysis

    if not nights:
        return
    table = list(nights.values())[-1]
    solved = table[table["objective"].notna()]
    if (solved.groupby("instance")["adapter"].nunique() > 1).any():
        yield "Performance profile", lambda: analysis.plot_profile(table)
    if len(nights) > 1:
        yield "Trend over the last nights", lambda: analysis.plot_trend(nights)


def _as_markdown(title: str, figure: Any) -> str:
    data = io.BytesIO()
    figure.savefig(data, **PAPER)
    return f"![{title}](data:image/png;base64,{base64.b64encode(data.getvalue()).decode()})"


def _why(error: Exception) -> str:
    return f" ({for_markdown(describe_error(error))})"
