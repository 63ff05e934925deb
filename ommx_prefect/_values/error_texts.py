"""Put errors into words: the type and the message, on one line and of bounded length."""

from __future__ import annotations

from ommx_prefect._values.parameters import storable

REASON_LENGTH = 500
# What is searched for secrets of a message, before it is cut to that.
LONGEST_MESSAGE = 100_000


def describe_error(error: BaseException) -> str:
    """Return `Type: message`, on one line and of bounded length."""
    return one_line(text_of_error(error))


def text_of_error(error: BaseException) -> str:
    """Return `Type: message`, whatever the error's own `__str__` does, without an endless rest."""
    try:
        message = str.__str__(str(error))[:LONGEST_MESSAGE]
    except (Exception, SystemExit, GeneratorExit):
        message = "(its message cannot be shown)"
    if not message and type(error).__name__ == "TerminationSignal":  # Prefect's, not imported here
        message = f"the process was told to end by signal {int(getattr(error, 'signal', 0))}"
    return f"{type(error).__name__}: {message}".removesuffix(": ")


def one_line(text: str) -> str:
    """Return the text on one line, of bounded length, and as UTF-8 can hold it."""
    text = storable(" ".join(text.split()))
    return text if len(text) <= REASON_LENGTH else text[: REASON_LENGTH - 1] + "…"
