"""Figures of an experiment, drawn with matplotlib (`pip install -e ".[plots]"`).

Each function returns a `matplotlib.figure.Figure` that belongs to no window: save it with
`figure.savefig("night.png")`, or let a notebook show it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from ommx_prefect.analysis._instances import instance_key
from ommx_prefect.analysis._profiles import performance_profile, solver_names
from ommx_prefect.analysis._totals import censored_seconds, totals

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_INCHES = (6.4, 4.0)
INSTALL = 'matplotlib is needed for plots: pip install matplotlib, or this package\'s extra "plots"'


def plot_profile(table: pd.DataFrame, measure: str = "seconds") -> Figure:
    """Draw the performance profile of the solvers in a table of solves."""
    profile = performance_profile(table, measure)
    figure, axes = _figure()
    end = max(2.0, 1.2 * profile.index[-1])  # beyond its last step, which would not be seen
    shown = profile.reindex([*profile.index, end]).ffill()
    for solver in shown:
        axes.step(shown.index, shown[solver], where="post", label=_label(solver))
    axes.set_xlim(1.0, end)
    axes.set_xscale("log")
    for write in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        write(lambda factor, _: f"{factor:g}")  # 2, and not 2 times 10 to the power of 0
    axes.set_ylim(0.0, 1.02)
    axes.set_xlabel(f"factor of the best {measure}")
    axes.set_ylabel(f"share of {profile.attrs['instances']} instances solved")
    _legend(axes)
    return figure


def plot_gap(trajectory: pd.DataFrame) -> Figure:
    """Draw the gap over time, as `gap_over_time` returns it, one line for each Run."""
    figure, axes = _figure()
    for (run, adapter), rows in trajectory.groupby(["run", "adapter"], sort=True):
        axes.step(rows["seconds"], rows["gap"], where="post", label=_label(f"{adapter} run {run}"))
    axes.set_ylim(0.0, 1.02)
    axes.set_xlabel("seconds")
    axes.set_ylabel("relative gap")
    _legend(axes)
    return figure


def plot_trend(nights: Mapping[str, pd.DataFrame], shift: float = 10.0) -> Figure:
    """Draw each solver's shifted geometric mean of seconds over successive experiments.

    Args:
        nights: Tables of solves by the name of the night, in order of time.
        shift: Seconds of the mean.
    """
    sums = [totals(table, shift).assign(night=name) for name, table in nights.items()]
    # Of nights without a solve pandas does not know the types, and warns.
    rows = pd.concat([each for each in sums if len(each)] or sums)
    order = list(nights)
    figure, axes = _figure()
    for solver, own in rows.groupby(solver_names(rows), sort=True):
        # By number: a solver that some nights lack must not change their order.
        places = [order.index(night) for night in own["night"]]
        axes.plot(places, own["seconds_mean"], marker="o", label=_label(solver))
    axes.set_xticks(range(len(order)), order)
    axes.set_ylim(bottom=0.0)
    axes.set_ylabel(f"mean of seconds, shift {shift:g}")
    axes.tick_params(axis="x", labelrotation=30)
    _legend(axes)
    return figure


def plot_scatter(table: pd.DataFrame, solvers: Sequence[str]) -> Figure:
    """Draw the seconds of two solvers against each other, a point for each instance.

    Args:
        table: As `solves` returns it.
        solvers: Two names, as profiles call solvers. What a solver did not solve stands at its
            limit, which is drawn as a line.

    Raises:
        ValueError: The table has no such solver.
    """
    keys = [instance_key(table).rename("instance"), solver_names(table).rename("solver")]
    times = censored_seconds(table).groupby(keys).median().unstack()
    one, other = solvers
    if missing := [name for name in (one, other) if name not in times]:
        known = ", ".join(times) or "none at all"
        raise ValueError(f"the table has no solver {missing[0]!r}; it has {known}")
    figure, axes = _figure()
    axes.scatter(times[one], times[other], s=14)
    limit = table["limit"].astype(float).max()
    if limit == limit:
        axes.axvline(limit, linestyle=":", color="gray")
        axes.axhline(limit, linestyle=":", color="gray")
    axes.axline((1.0, 1.0), slope=1.0, linestyle="--", color="gray")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(f"seconds of {_label(one)}")
    axes.set_ylabel(f"seconds of {_label(other)}")
    return figure


def _figure() -> tuple[Figure, Axes]:
    try:
        from matplotlib.figure import Figure as MadeFigure
    except ImportError as error:
        raise ImportError(INSTALL) from error
    figure = MadeFigure(figsize=SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    axes.grid(alpha=0.3)
    return figure, axes


def _label(name: object) -> str:
    """Return a name as plain text: matplotlib would read dollars as mathematics."""
    return str(name).replace("$", r"\$")


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small")
