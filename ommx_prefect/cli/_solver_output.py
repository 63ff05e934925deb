"""Keep what solvers print out of a command's own output."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_STDOUT, _STDERR = 1, 2


@contextmanager
def solvers_on_stderr() -> Iterator[None]:
    """Redirect standard output to standard error, for native code too.

    HiGHS prints a banner that no option silences, and `--json` has to stay JSON.
    """
    _flush()
    kept = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    try:
        yield
    finally:
        _flush()
        os.dup2(kept, _STDOUT)
        os.close(kept)


def _flush() -> None:
    """Flush the output buffers of Python and C, before their target changes."""
    sys.stdout.flush()
    ctypes.CDLL(None).fflush(None)
