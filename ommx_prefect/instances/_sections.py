"""Find the line of a file that holds what an Instance has no place for, to name it in an error.

Nothing is read from here: the readers have refused the file before.
"""

from __future__ import annotations

import re
from pathlib import Path

# By the format: how such a part begins, what the part is called, what it holds.
_MPS = (
    (r"SOS[12]?\b", "special ordered sets"),
    (r"INDICATORS\b", "indicator constraints"),
    (r"GENCONS\b", "general constraints"),
    (r"PWLOBJ\b", "a piecewise-linear objective"),
    (r"CSECTION\b", "cones"),
    (r"(LAZYCONS|USERCUTS)\b", "constraints that a solver may leave out"),
)
_LP = (
    (r"\s*SOS[12]?\s*$", "special ordered sets"),
    (r".*=\s*[01]\s*->", "indicator constraints"),
    (r"\s*general constraints\s*$", "general constraints"),
    (r"\s*PWLObj\s*$", "a piecewise-linear objective"),
    (r"\s*(lazy constraints|user cuts)\s*$", "constraints that a solver may leave out"),
)
_PARTS = {".mps": (_MPS, 0), ".lp": (_LP, re.IGNORECASE)}


def inexpressible_part(path: Path, suffix: str) -> str | None:
    """Say which part, in which line, an Instance has no place for; None if there is none such."""
    parts, flags = _PARTS[suffix]
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            for begin, what in parts:
                if re.match(begin, line, flags):
                    called = line.split("->")[0].strip() if "->" in line else line.split()[0]
                    return f"{what} (section {called}, line {number})"
    return None
