"""Keep the input of a user's `log_solve` or `log_sample` even if the process is killed.

OMMX (3.0.0b7) stores the input when the solve has ended, and its `Run` cannot be extended. But each
adapter asks `SolverAdapter.require_applicable` before it builds its model; there the input and the
adapter are announced, if it is asked inside of `log_solve` in the Run of a recorded task.
"""

from __future__ import annotations

import functools
from typing import Any

from ommx import Instance
from ommx.adapter import SolverAdapter

from ommx_prefect._recording.announced import Announced
from ommx_prefect._recording.current import recording_here

_ASKED = "require_applicable"


def keep_inputs() -> None:
    """Keep what adapters are asked to solve from now on; calling it again changes nothing."""
    plain = vars(SolverAdapter)[_ASKED].__func__
    if hasattr(plain, "__wrapped__"):
        return

    @functools.wraps(plain)
    def require_applicable(cls: type[SolverAdapter], ommx_instance: Instance) -> Any:
        report = plain(cls, ommx_instance)
        _keep(cls, ommx_instance)
        return report

    setattr(SolverAdapter, _ASKED, classmethod(require_applicable))


def _keep(adapter: type[SolverAdapter], instance: Instance) -> None:
    recording = recording_here()
    if recording is not None and recording.is_solving:
        parameters = {"adapter": adapter.__name__}
        recording.announce(Announced.of(parameters, instance, instance.to_v2_bytes()))
