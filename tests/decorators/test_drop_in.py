"""What Prefect does under its own decorators it does under ours: one table, run with both."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

import prefect
import pytest

import ommx_prefect
from tests.support.behaviours import IN_FLOW, OUTSIDE, all_told

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture(scope="module")
def seen(server: str) -> dict[str, dict[str, Any]]:
    """What every behaviour says, by whose decorators."""
    return {
        each.__name__: all_told(
            SimpleNamespace(task=each.task, flow=each.flow, unique=uuid.uuid4().hex)
        )
        for each in (prefect, ommx_prefect)
    }


@pytest.mark.parametrize("behaviour", [*IN_FLOW, *OUTSIDE])
def test_prefects_behaviour_is_ours(seen, behaviour):
    plain, ours = seen["prefect"][behaviour], seen["ommx_prefect"][behaviour]
    assert not isinstance(plain, Exception), plain
    assert ours == plain
