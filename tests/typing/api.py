"""What editors see of `task` and `flow`: checked by mypy, never run."""

from __future__ import annotations

from typing import Any

import prefect
from typing_extensions import assert_type

from ommx_prefect import checkpoint, flow, recorded, seal_hooks, task


@task
def bare(x: int, name: str = "a") -> float:
    return x / 2


@task(retries=2, log_inputs=["x"], on_error="raise", timeout_seconds=3)
def with_options(x: int) -> list[int]:
    return [x]


@recorded
def plain(x: int) -> str:
    return str(x)


@flow(experiment="ghcr.io/acme/nightly", aliases=["latest"], retries=1)
def nightly(path: str) -> int:
    return len(path)


@flow
def simple(n: int) -> int:
    return n


@prefect.flow(**seal_hooks("ghcr.io/acme/nightly"))
def kept(n: int) -> int:
    return n


@prefect.flow(name="also kept", retries=1, **seal_hooks(aliases=["latest"]))
def also_kept(n: int) -> int:
    return n


checkpoint(incumbent=[1.0], gap=0.03)
assert_type(bare(1), float)
assert_type(with_options(1), list[int])
assert_type(plain(1), str)
assert_type(nightly("a"), int)
assert_type(simple(1), int)
assert_type(kept(1), int)
assert_type(also_kept(1), int)
wrong: Any = bare("text")  # type: ignore
