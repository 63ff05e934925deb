"""Write to the log of the flow run or task run that is executed here, without secrets."""

from __future__ import annotations

import logging
import sys

from ommx_prefect._values.display import for_terminal
from ommx_prefect._values.secrets import redact_known

# How many texts are known as said: a flow that is served for months says new ones all the time.
MOST_WARNED = 1_000
_warned: dict[str, object] = {}


def logger() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    """Return the logger of the current run, or the package's own outside runs.

    Prefect, which takes a second to import, is asked where it is there: without it nothing runs.
    """
    if "prefect" not in sys.modules:
        return logging.getLogger("prefect.ommx_prefect")
    from prefect.exceptions import MissingContextError
    from prefect.logging import get_logger, get_run_logger

    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("ommx_prefect")


def warn(message: str) -> None:
    """Log a warning."""
    logger().warning("%s", _clean(message))


def warn_once(message: str) -> None:
    """Log a warning, unless this process has logged the same one lately."""
    if len(_warned) >= MOST_WARNED:
        _warned.clear()
    this = object()
    # One step, for the tasks of a flow run come here from many threads at once.
    if _warned.setdefault(message, this) is this:
        warn(message)


def inform(message: str) -> None:
    """Log a message of level INFO."""
    logger().info("%s", _clean(message))


def complain(message: str) -> None:
    """Log an error."""
    logger().error("%s", _clean(message))


def _clean(message: str) -> str:
    return for_terminal(redact_known(message))
