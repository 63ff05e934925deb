"""Let `log_parameter` of an OMMX Run take numbers of numpy and other libraries.

OMMX 3.0.0b7 refuses `np.int64(5)` and the like with a TypeError: after a solve of hours, the task
would fail for a count. `Run` cannot be inherited from, so its method is wrapped, in the whole
process: what OMMX takes, it takes as it stands, and what it refuses is converted and tried again.
"""

from __future__ import annotations

import functools
from typing import Any

from ommx.experiment import Run

from ommx_prefect._values.parameters import as_number


def accept_numbers() -> None:
    """Wrap `Run.log_parameter`, once per process."""
    refusing = Run.log_parameter
    if hasattr(refusing, "__wrapped__"):
        return

    @functools.wraps(refusing)
    def log_parameter(self: Run, name: str, value: Any) -> None:
        try:
            refusing(self, name, value)
        except TypeError:
            number: Any = as_number(value)
            if number is value:
                raise
        else:
            return
        refusing(self, name, number)

    Run.log_parameter = log_parameter  # type: ignore[method-assign]
