"""What does the command line of the solver benchmark take?"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from benchmark_inputs import storable
from benchmark_rows import Choice

from ommx_prefect._solver.options import option_value

ADAPTERS = ("highs", "scip", "python-mip", "openjij")
EXPERIMENT = "ommx.local/solver-benchmark"
EXAMPLES = """\
examples:
  python flows/solver_benchmark.py
      seeded instances of known hard families, with HiGHS and SCIP
  python flows/solver_benchmark.py models/ extra/p0033.mps.gz miplib2017:air05
      a folder, a file and an instance of a data set
  python flows/solver_benchmark.py models/ --adapter scip --seeds 1,2,3 --time-limit 60
  python flows/solver_benchmark.py models/ --experiment ghcr.io/acme/nightly
      sealed as ghcr.io/acme/nightly:<time>-<name of the flow run>
  python flows/solver_benchmark.py models/ --adapter highs --variant highs:presolve=off
      HiGHS as it is, and without presolve
  python flows/solver_benchmark.py models/ --report night.html --compare-with latest
      one page about the night, beside the last one; the exit code is 1 if something became worse
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    result = argparse.ArgumentParser(
        description="Solve instances with several solvers and seal every run in one experiment.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add(
        "sources",
        nargs="*",
        type=storable,
        metavar="SOURCE",
        help=".mps, .lp, .mps.gz, .lp.gz, .qplib or .ommx file, folder, "
        "miplib2017:NAME or qplib:NAME (default: generated instances)",
    )
    add(
        "--adapter",
        action="append",
        choices=ADAPTERS,
        help="solver; may be repeated (default: highs and scip)",
    )
    add(
        "--time-limit",
        type=positive,
        default=5.0,
        metavar="SECONDS",
        help="of each solve (default: %(default)g)",
    )
    add(
        "--variant",
        action="append",
        type=variant,
        metavar="SOLVER:OPTION=VALUE,...",
        help="solve with a solver's own options, too; may be repeated",
    )
    add("--seeds", type=integers, metavar="1,2,...", help="solve once with each random seed")
    add(
        "--experiment",
        default=EXPERIMENT,
        metavar="IMAGE",
        help="OCI image name to seal under (default: %(default)s)",
    )
    add(
        "--checkpoint-seconds",
        type=positive,
        metavar="SECONDS",
        help="make the best solution so far durable at most that often, while HiGHS or SCIP runs",
    )
    add(
        "--report",
        type=writable,
        metavar="FILE",
        help="write one HTML page about the night",
    )
    add(
        "--compare-with",
        metavar="IMAGE",
        help="compare with an earlier night; latest is the newest under the same name",
    )
    return result


def variant(text: str) -> str:
    """Check how a variant is written."""
    choice_of(text)
    return text


def choice_of(text: str) -> Choice:
    """Return the choice that `highs:presolve=off,threads=2` writes."""
    adapter, _, options = text.partition(":")
    pairs = [pair.partition("=") for pair in options.split(",")]
    if adapter not in ADAPTERS or not all(name and sign for name, sign, _ in pairs):
        raise ValueError(f"{text!r} is no SOLVER:OPTION=VALUE of {', '.join(ADAPTERS)}")
    found = tuple((name.strip(), option_value(value.strip())) for name, _, value in pairs)
    return Choice(adapter, found)


def writable(text: str) -> str:
    """Refuse a file that could not be written once the night is over."""
    path = Path(text)
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no file in a folder that is there")
    return text


def positive(text: str) -> float:
    """Parse a number above 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError(text)
    return value


def integers(text: str) -> list[int]:
    """Parse integers with commas between them."""
    return [int(each) for each in text.split(",")]
