"""The figures of a report as SVG in data URIs; none where matplotlib is not installed."""

from __future__ import annotations

import base64
import importlib.util
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from ommx.experiment import Experiment

from ommx_prefect._solver.telemetry import TRAJECTORY
from ommx_prefect.analysis._plots import plot_gap, plot_profile, plot_trend
from ommx_prefect.analysis._profiles import gap_over_time, solver_names
from ommx_prefect.analysis._totals import is_solved

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_GAPS = 12
# The same figure is the same text, whenever it is drawn.
STYLE: dict[Any, Any] = {"svg.hashsalt": "ommx-prefect"}


@dataclass(frozen=True)
class Picture:
    """A figure: what it shows, and the address that holds it."""

    kind: str
    caption: str
    source: str


@dataclass(frozen=True)
class Pictures:
    """The figures of a page; `missing` says why there are none."""

    profile: tuple[Picture, ...] = ()
    gaps: tuple[Picture, ...] = ()
    trend: tuple[Picture, ...] = ()
    missing: str = ""


def pictures_of(
    night: Experiment, table: pd.DataFrame, earlier: Mapping[str, pd.DataFrame], name: str
) -> Pictures:
    """Draw the profile of an experiment, the gaps of its hardest instances, and the trend."""
    if importlib.util.find_spec("matplotlib") is None:
        return Pictures(missing="Figures need matplotlib: pip install matplotlib")
    return Pictures(
        profile=tuple(_profile(table)),
        gaps=tuple(_gaps(night, table)),
        trend=tuple(_trend({**earlier, name: table}) if earlier else ()),
    )


def _profile(table: pd.DataFrame) -> Iterator[Picture]:
    if is_solved(table).any() and table["seconds"].notna().any():
        count = solver_names(table).nunique()
        caption = f"Performance profile of {count} solvers (Dolan and Moré 2002)"
        yield Picture("profile", caption, _source(plot_profile(table)))


def _gaps(night: Experiment, table: pd.DataFrame) -> Iterator[Picture]:
    """Draw the instances that took longest, those without a proof first."""
    recorded = {run.run_id for run in night.runs if TRAJECTORY in run.attachment_names}
    known = table[table["run"].isin(recorded) & table["instance"].notna()]
    ordered = known.assign(_solved=is_solved(known)).sort_values(
        ["_solved", "seconds"], ascending=[True, False]
    )
    for instance in ordered["instance"].drop_duplicates().head(MOST_GAPS):
        gaps = gap_over_time(night, str(instance))
        if len(gaps):
            yield Picture("gap", str(instance), _source(plot_gap(gaps)))


def _trend(nights: Mapping[str, pd.DataFrame]) -> Iterator[Picture]:
    short = {_tag(name, nights): table for name, table in nights.items()}
    caption = "Shifted geometric means, earlier nights first"
    yield Picture("trend", caption, _source(plot_trend(short)))


def _tag(name: str, nights: Mapping[str, object]) -> str:
    """Return the tag of an image name, where that tells it from the others."""
    tag = name.rpartition(":")[2]
    return tag if sum(x.rpartition(":")[2] == tag for x in nights) == 1 else name


def _source(figure: Figure) -> str:
    import matplotlib

    file = io.BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"
