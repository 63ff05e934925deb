"""Known objective values of instances: from a table, a `.solu` file, or MIPLIB 2017.

A `.solu` file has one line for each instance (as SCIP's check tests use it):

    =opt=  p0033  3089        the optimum
    =best= big    42          the best value that is known
    =inf=  bad                infeasible
    =unbd= open               unbounded
    =unkn= hard               nothing is known
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from ommx_prefect.analysis._instances import DIGITS, filled_digests, filled_names

COLUMNS = ("instance", "status", "objective")
# The first word of a line of a `.solu` file -> what is known.
STATUSES = {
    "=opt=": "optimal",
    "=best=": "best",
    "=inf=": "infeasible",
    "=unbd=": "unbounded",
    "=unkn=": "unknown",
    "=feas=": "unknown",
}
MIPLIB2017 = "miplib2017"
_MIPLIB_OBJECTIVE = "org.ommx.miplib.objective"
_MIPLIB_STATUS = "org.ommx.miplib.status"


def known_values(known: pd.DataFrame | str | Path | None) -> pd.DataFrame:
    """Return what is known as a table with the columns `instance`, `status`, `objective`.

    Args:
        known: A table with `instance` and `objective` (and `status`: optimal, best, infeasible,
            unbounded or unknown; without it, optimal); the path of a `.solu` file; `"miplib2017"`
            for the optima that OMMX ships; or None for an empty table.

    Raises:
        ValueError: A column is missing, a file is not there, or a line cannot be read.
    """
    if known is None:
        return _table([])
    if isinstance(known, pd.DataFrame):
        return _checked(known)
    if str(known) == MIPLIB2017:
        return _miplib2017()
    if not Path(known).is_file():
        raise ValueError(f"{known} is no file; known are a .solu file, and {MIPLIB2017!r}")
    return read_solu(known)


def read_solu(path: str | Path) -> pd.DataFrame:
    """Read a `.solu` file; ValueError names the line that cannot be read."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return _table(
        _parsed(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()
    )


def write_solu(table: pd.DataFrame, path: str | Path) -> None:
    """Write the best that some solves know of each instance, one line for each.

    Nothing is known of one that is infeasible for one solver, and has a solution for another.
    Blanks in a name become underscores: a `.solu` file has them between its words. Where a name has
    several contents, each has a line of its own under the name, `@`, and digits of its digest.

    Args:
        table: As `solves` returns it.
        path: The `.solu` file to write.
    """
    names = filled_names(table)
    contents = filled_digests(table)
    is_one = (contents.groupby(names).transform("nunique") <= 1) | contents.isna()
    digits = contents.str.removeprefix("sha256:").str.slice(0, DIGITS)
    keys = names.where(is_one, names + "@" + digits)
    lines = [
        _solu_line(solu_name(str(name)), group) for name, group in table.groupby(keys, sort=True)
    ]
    Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def solu_name(name: str) -> str:
    """Return what an instance is called in a `.solu` file, in which blanks end a name."""
    return re.sub(r"\s+", "_", name)


def _solu_line(name: str, solves: pd.DataFrame) -> str:
    said = set(solves["outcome"].dropna())
    if "infeasible" in said and said & {"optimal", "feasible", "unbounded"}:
        return f"=unkn= {name}"  # one of the solvers is wrong
    for outcome, word in (("infeasible", "=inf="), ("unbounded", "=unbd=")):
        if outcome in said:
            return f"{word} {name}"
    is_maximised = bool((solves["sense"] == "maximize").any())
    proved = solves[(solves["outcome"] == "optimal").fillna(False)]
    for word, found in (("=opt=", proved), ("=best=", solves)):
        values = found["objective"].dropna().astype(float)
        if not values.empty:
            return f"{word} {name} {values.max() if is_maximised else values.min():.15g}"
    return f"=unkn= {name}"


def _parsed(line: str, where: str) -> tuple[str, str, float | None]:
    word, *rest = line.split()
    status = STATUSES.get(word)
    needs_value = status in ("optimal", "best")
    if status is None or len(rest) < 1 + needs_value:
        raise ValueError(f"{where}: {line.strip()!r} is no line of a .solu file")
    try:
        return rest[0], status, float(rest[1]) if needs_value else None
    except ValueError as error:
        raise ValueError(f"{where}: {rest[1]!r} is no number") from error


def _checked(known: pd.DataFrame) -> pd.DataFrame:
    if missing := {"instance", "objective"} - set(known.columns):
        raise ValueError(f"known lacks the column {', '.join(sorted(missing))}")
    return known.assign(status=known.get("status", "optimal"))[list(COLUMNS)]


def _miplib2017() -> pd.DataFrame:
    from ommx.dataset import miplib2017_instance_annotations

    found = miplib2017_instance_annotations()
    return _table((name, *_miplib_value(said)) for name, said in found.items())


def _miplib_value(annotations: Mapping[str, str]) -> tuple[str, float | None]:
    said = annotations.get(_MIPLIB_OBJECTIVE, "").strip().rstrip("*")
    proved = "best" if annotations.get(_MIPLIB_STATUS) == "open" else "optimal"
    try:
        return proved, float(said)
    except ValueError:
        return {"Infeasible": "infeasible", "Unbounded": "unbounded"}.get(said, "unknown"), None


def _table(rows: Iterable[tuple[str, str, float | None]]) -> pd.DataFrame:
    found = pd.DataFrame(list(rows), columns=list(COLUMNS))
    return found.astype({"instance": "string", "status": "string", "objective": "Float64"})
