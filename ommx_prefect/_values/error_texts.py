"""Put errors into words: the type and the message, on one line and of bounded length.

Secrets are cut out first: what is cut or put on one line would not be known again.
"""

from __future__ import annotations

from collections.abc import Callable

from ommx_prefect._values.parameters import storable
from ommx_prefect._values.secrets import redact_known

# What is said of those that mostly come without a message, by name: Prefect is not imported here.
UNSAID = {
    "TerminationSignal": "the process was told to end by signal {signal}",
    "CancelledError": "it was cancelled while it ran",
    "KeyboardInterrupt": "it was ended by SIGINT, as by Ctrl-C",
    "SystemExit": "it called sys.exit()",
}
REASON_LENGTH = 500
# What is searched for secrets of a message, before it is cut to that.
LONGEST_MESSAGE = 100_000


def describe_error(error: BaseException, redact: Callable[[str], str] = redact_known) -> str:
    """Return `Type: message`, on one line, of bounded length and without secrets.

    Args:
        error: What was raised.
        redact: Cuts the secrets out; those that this process has seen if left out.
    """
    return one_line(redact(text_of_error(error)))


def text_of_error(error: BaseException) -> str:
    """Return `Type: message`, whatever the error's own `__str__` does, without an endless rest."""
    message = message_of(error)
    if message in ("", "None"):  # the latter of a SystemExit
        signal = int(getattr(error, "signal", 0))
        message = UNSAID.get(type(error).__name__, message).format(signal=signal)
    return f"{type(error).__name__}: {message}".removesuffix(": ")


def message_of(error: BaseException) -> str:
    """Return the message alone, which may be of many lines."""
    try:
        return str.__str__(str(error))[:LONGEST_MESSAGE]
    except (Exception, SystemExit, GeneratorExit):
        return "(its message cannot be shown)"


def one_line(text: str) -> str:
    """Return a text without secrets on one line, of bounded length, and as UTF-8 can hold it."""
    text = storable(" ".join(text.split()))
    return text if len(text) <= REASON_LENGTH else text[: REASON_LENGTH - 1] + "…"
