"""Recognize panics of OMMX's Rust core: a BaseException that no module exports."""

from __future__ import annotations

import copyreg


def is_panic(error: BaseException) -> bool:
    """Tell whether this is pyo3's PanicException, which no module exports.

    It becomes the cause of an error of ours, and Dask pickles causes, too; so it is made picklable.
    """
    kind = type(error)
    if (kind.__module__, kind.__name__) != ("pyo3_runtime", "PanicException"):
        return False
    copyreg.pickle(kind, _reduced_panic)
    return True


def _reduced_panic(error: BaseException) -> tuple[type[RuntimeError], tuple[str]]:
    return RuntimeError, (f"OMMX's Rust core panicked: {error}",)
