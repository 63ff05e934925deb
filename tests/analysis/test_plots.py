"""Figures are drawn, and show what the tables say."""

from __future__ import annotations

import pandas as pd
import pytest

from ommx_prefect.analysis import plot_gap, plot_profile, plot_scatter, plot_trend, write_trc
from tests.analysis.tables import solve_table
from tests.analysis.test_profiles import NIGHT

TRAJECTORY = pd.DataFrame(
    {"run": [0, 0], "adapter": ["highs"] * 2, "seconds": [0.0, 2.0], "gap": [1.0, 0.25]}
)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plot_profile(NIGHT),
        lambda: plot_gap(TRAJECTORY),
        lambda: plot_trend({"monday": NIGHT, "tuesday": NIGHT}),
        lambda: plot_scatter(NIGHT, ["highs", "scip"]),
    ],
    ids=["profile", "gap", "trend", "scatter"],
)
def test_figures_are_pictures(draw, tmp_path):
    path = tmp_path / "figure.png"
    draw().savefig(path)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_profile_has_a_line_for_each_solver_with_the_shares_of_the_table():
    axes = plot_profile(NIGHT).axes[0]
    lines = {line.get_label(): line.get_ydata().tolist() for line in axes.lines}
    assert lines == {"highs": [0.25, 0.25, 0.5, 0.5], "scip": [0.5, 0.75, 0.75, 0.75]}


def test_the_profile_of_one_solver_is_a_line_that_is_seen():
    axes = plot_profile(solve_table(("a", "highs", "optimal", 1.0, 1.0, 9.0))).axes[0]
    (line,) = axes.lines
    assert line.get_ydata().tolist() == [1.0, 1.0]
    assert tuple(line.get_xdata()) == axes.get_xlim() == (1.0, 2.0)


def test_a_solver_that_is_not_there_is_said_with_those_that_are():
    with pytest.raises(ValueError, match="no solver 'cbc'; it has highs, scip"):
        plot_scatter(NIGHT, ["highs", "cbc"])


def test_names_are_no_mathematics(tmp_path):
    table = solve_table(("a", "$\\frac{", "optimal", 1.0, 1.0, 9.0))
    plot_profile(table).savefig(tmp_path / "figure.png")


def test_a_trace_file_has_a_line_for_each_solve(tmp_path):
    path = tmp_path / "night.trc"
    write_trc(NIGHT, path)
    lines = path.read_text().splitlines()
    assert len(lines) == 2 + len(NIGHT)
    assert lines[2] == "a,highs,0,0,1,1,1.0,NA,1.0,NA,NA"
    assert lines[-1] == "d,scip,0,0,13,10,NA,NA,0.1,NA,NA"


def test_a_solve_that_was_ended_keeps_its_solution_in_a_trace_file(tmp_path):
    path = tmp_path / "night.trc"
    write_trc(solve_table(("a", "scip", None, 7.0, 2.0, 9.0), ("b", "scip", None)), path)
    assert path.read_text().splitlines()[2:] == [
        "a,scip,0,0,8,8,7.0,NA,2.0,NA,NA",
        "b,scip,0,0,13,10,NA,NA,NA,NA,NA",
    ]


@pytest.mark.filterwarnings("error")
def test_a_night_without_a_solve_is_a_gap_in_a_trend():
    axes = plot_trend({"monday": NIGHT, "tuesday": NIGHT[:0], "wednesday": NIGHT}).axes[0]
    assert {tuple(line.get_xdata()) for line in axes.lines} == {(0, 2)}
    assert len(axes.get_xticklabels()) == 3
    assert plot_trend({"monday": NIGHT[:0]}).axes[0].lines[:] == []


def test_a_trend_keeps_the_order_of_nights_whichever_solver_they_lack():
    only = NIGHT[NIGHT["adapter"] == "highs"]
    axes = plot_trend({"monday": only, "tuesday": NIGHT, "wednesday": only}).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        *("monday", "tuesday", "wednesday")
    ]
    lines = {line.get_label(): list(line.get_xdata()) for line in axes.lines}
    assert lines == {"highs": [0, 1, 2], "scip": [1]}


def test_a_gap_is_drawn_as_it_was_over_time():
    (line,) = plot_gap(TRAJECTORY).axes[0].lines
    assert (line.get_label(), list(line.get_xdata())) == ("highs run 0", [0.0, 2.0])
    assert list(line.get_ydata()) == [1.0, 0.25]
    assert line.get_drawstyle() == "steps-post"  # what was known until the next was found


def test_a_scatter_has_a_point_for_each_instance_and_lines_at_the_limit():
    axes = plot_scatter(NIGHT, ["highs", "scip"]).axes[0]
    (points,) = axes.collections
    assert points.get_offsets().tolist() == [[1.0, 2.0], [4.0, 1.0], [9.0, 8.0], [9.0, 9.0]]
    limits = [line for line in axes.lines if line.get_linestyle() == ":"]
    ends = [line.get_xydata().tolist() for line in limits]
    assert ends == [[[9.0, 0.0], [9.0, 1.0]], [[0.0, 9.0], [1.0, 9.0]]]
    assert axes.get_xlabel() == "seconds of highs"
