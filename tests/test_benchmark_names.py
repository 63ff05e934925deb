"""Whatever files are called, the benchmark solves them, and tells them apart in all it shows."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

# Last: flows/distributed.py has the name of a package.
sys.path.append(str(Path(__file__).resolve().parents[1] / "flows"))
import benchmark_rows
import benchmark_screen


@pytest.mark.parametrize("name", ["sp ace [x]", "[/red]", "[red]x", "back\\", "\\[x]"])
def test_a_terminal_shows_a_name_that_looks_like_markup(name):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120, color_system=None)
    row = benchmark_rows.row_of(name, f"{name}.mps", "highs", reason=f"in {name}")
    with benchmark_screen.progress(console, 2) as show:
        show(row, [benchmark_screen.label(row)])
    benchmark_screen.print_tables(console, [row], benchmark_rows.totals_of([row]))
    assert screen.getvalue().count(f"{name} highs") >= 2
    assert screen.getvalue().count(f"in {name}") == 2
