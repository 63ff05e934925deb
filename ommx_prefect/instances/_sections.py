"""Find the line of a file with a part that is not supported, to name it in an error.

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
    """Describe the part, with its line, that is neither row nor bound; None if there is none."""
    parts, flags = _PARTS[suffix]
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            for begin, what in parts:
                if re.match(begin, line, flags):
                    return f"{what} ({_called(line, suffix)}, line {number})"
    return None


def _called(line: str, suffix: str) -> str:
    if "->" in line:
        return f"row {line.split(':')[0].strip()}" if ":" in line else "a row without a name"
    words = line.split()
    return f"section {words[0] if suffix == '.mps' else ' '.join(words)}"
