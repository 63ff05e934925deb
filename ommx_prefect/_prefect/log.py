"""Where this package says what a person should know: the run's own log in Prefect."""

from __future__ import annotations

import logging

from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger

from ommx_prefect._values.display import for_terminal


def logger() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    """Return the logger of the current run, or the package's own outside runs."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("ommx_prefect")


def warn(message: str) -> None:
    """Log a warning."""
    logger().warning("%s", for_terminal(message))


def inform(message: str) -> None:
    """Log what went well and a person wants to know."""
    logger().info("%s", for_terminal(message))


def complain(message: str) -> None:
    """Log an error."""
    logger().error("%s", for_terminal(message))
