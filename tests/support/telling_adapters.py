"""Adapters that tell what their process has imported."""

from __future__ import annotations

import json
import sys
from typing import Any

from ommx import Solution
from ommx_highs_adapter import OMMXHighsAdapter

_MODULES = "modules"


class Telling(OMMXHighsAdapter):
    """Tells it in its Solution, and then imports Prefect, as an adapter of somebody may."""

    def decode(self, data: Any) -> Solution:
        before = list(sys.modules)
        import prefect

        assert prefect.flow
        solution = super().decode(data)
        solution.add_user_annotation(_MODULES, json.dumps([before, list(sys.modules)]))
        return solution


def modules_told(solution: Solution) -> tuple[set[str], set[str]]:
    """Return what was imported before and after its adapter imported Prefect."""
    before, after = json.loads(solution.get_user_annotations()[_MODULES])
    return set(before), set(after)
