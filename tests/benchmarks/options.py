"""The options of benchmarks that measure one size in rounds."""

from __future__ import annotations

import argparse


def size_and_rounds(
    description: str | None, name: str, *, size: int, rounds: int, tiny: int
) -> argparse.Namespace:
    """Read the command line: `size`, `rounds`, and whether to `write` what is found.

    Args:
        description: The docstring of the benchmark.
        name: What the size is called, as `--megabytes`.
        size: The size if none is given.
        rounds: The number of rounds if none is given.
        tiny: The size of a trial run, which has one round.
    """
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument(name, dest="size", type=int, default=size)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--tiny", action="store_true", help=f"{name} {tiny}, one round")
    parser.add_argument("--write", action="store_true", help="write the table of docs/costs.md")
    found = parser.parse_args()
    if found.tiny:
        found.size, found.rounds = tiny, 1
    return found
