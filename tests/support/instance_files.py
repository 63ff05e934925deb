"""The instances that tests solve: those of this checkout, and more where they lie beside it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

OWN = Path(__file__).resolve().parents[1] / "data" / "instances"
# Instances whose licence lets nobody put them here.
MORE = Path(__file__).resolve().parents[3] / "shared" / "data" / "open"
FOLDERS = [OWN, *([MORE] if MORE.is_dir() else [])]
# The text of an MPS file that every solver solves at once.
TINY = "NAME\nROWS\n N cost\n G r\nCOLUMNS\n x cost 2 r 1\nRHS\n rhs r 3\nENDATA\n"


def instance_file(name: str) -> Path:
    """Return an instance by its file's name; skip the test where it is not here."""
    for folder in FOLDERS:
        if (folder / name).exists():
            return folder / name
    pytest.skip(f"{name} is neither in {OWN} nor in {MORE}")


def are_here(*names: str) -> tuple[str, ...]:
    """Return those of the names that are here."""
    return tuple(name for name in names if any((folder / name).exists() for folder in FOLDERS))


def reference() -> dict[str, dict[str, str]]:
    """Return what the tables say of each file, by its name; our own table wins."""
    rows: dict[str, dict[str, str]] = {}
    for folder in reversed(FOLDERS):
        with (folder / "reference.csv").open() as file:
            rows |= {row["file"]: row for row in csv.DictReader(file)}
    return rows
