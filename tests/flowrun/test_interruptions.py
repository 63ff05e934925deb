"""An interruption belongs to one flow run, until that one runs again."""

from __future__ import annotations

import pytest
from prefect.exceptions import Abort, Pause

from ommx_prefect._flowrun.interruptions import interruption_here, interruption_noted


def ended_by(error: BaseException, flow_run_id: str) -> None:
    with pytest.raises(type(error)), interruption_noted(flow_run_id):
        raise error


def test_a_flow_run_that_begins_lets_go_of_its_own_interruption_and_of_no_other():
    ended_by(KeyboardInterrupt(), "root")
    ended_by(SystemExit(1), "inner")
    with interruption_noted("inner"):
        assert interruption_here("inner") is None
        assert "KeyboardInterrupt" in str(interruption_here("inner", "root"))
        with interruption_noted("root"):
            assert interruption_here("inner", "root") is None


def test_what_runs_inside_of_an_interrupted_flow_run_is_to_end_wherever_it_is():
    with interruption_noted("outer"), interruption_noted("middle"):
        ended_by(KeyboardInterrupt(), "lowest")
        assert interruption_here() is None
        ended_by(KeyboardInterrupt(), "outer")
        assert interruption_here() is not None
    assert interruption_here("middle") is None


@pytest.mark.parametrize("error", [Pause(), Abort(), GeneratorExit(), ValueError()])
def test_what_is_no_interruption_stops_no_task(error):
    ended_by(error, "goes on")
    assert interruption_here("goes on") is None
