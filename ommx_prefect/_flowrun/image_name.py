"""Choose the OCI image name of a flow run's experiment.

| `experiment=` | the name of one flow run |
|---|---|
| `registry/repository:tag` | as it stands |
| with `{...}` fields | filled in: `{flow_run.name}`, `{scheduled_time:%Y%m%d}`, parameters |
| without a tag | a tag from the scheduled time and the flow run's name: sortable, readable |
| a callable | what it returns for the FlowRun, by the rows above |
| None | an anonymous name of the Local Registry |
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

from ommx_prefect._flowrun.secrets import secrets_around
from ommx_prefect._oci.image_name import (
    as_distinct_path,
    as_distinct_tag,
    as_tag,
    bounded_tag,
)
from ommx_prefect._values.secrets import Redactor, is_secret, is_secret_name
from ommx_prefect.exceptions import InvalidImageNameError

NameSource = str | Callable[[Any], str] | None

TIME_FORMAT = "%Y%m%dT%H%M%S"


# Where only Docker itself may push to.
OFFICIAL = "one of Docker Hub's official images"

BRACES = {"{": 1, "}": -1}


@dataclass(frozen=True)
class NamingFacts:
    """The facts of a flow run that may become part of its image name."""

    flow_run_id: str
    flow_run_name: str
    flow_name: str
    scheduled_time: datetime
    start_time: datetime
    parameters: Mapping[str, Any]


def resolve(template: str, facts: NamingFacts) -> tuple[str, bool]:
    """Fill in a template; return the name, and whether its tag was the user's choice.

    Raises:
        InvalidImageNameError: A field is unknown, secret, or formatted wrongly.
    """
    if "{" not in template and "}" not in template:
        return (template, True) if has_tag(template) else (_with_default(template, facts), False)
    path, colon, tag = _split(template)
    path = _fill(template, path, as_distinct_path, facts)
    if not colon:
        return _with_default(path, facts), False
    return f"{path}:{bounded_tag(_fill(template, tag, as_distinct_tag, facts))}", True


def has_tag(name: str) -> bool:
    """Tell whether an image name chooses its tag, or pins a digest."""
    return "@" in name or ":" in name.rpartition("/")[2]


def place_in_docker_hub(name: str, canonical: str) -> str:
    """Say where in Docker Hub a name stands that says no registry; nothing of one that does.

    Args:
        name: The name as it was given.
        canonical: The name as OMMX writes it out.
    """
    if not canonical.startswith("docker.io/") or name.startswith("docker.io/"):
        return ""
    is_official = canonical.startswith("docker.io/library/") and not name.startswith("library/")
    return OFFICIAL if is_official else "of Docker Hub"


def _with_default(name: str, facts: NamingFacts) -> str:
    return f"{name}:{default_tag(facts)}"


def _split(template: str) -> tuple[str, str, str]:
    """Take a template apart where its tag begins: at a colon outside of fields, after the path."""
    depth = 0
    last = {"/": -1, ":": -1}
    for place, character in enumerate(template):
        depth = max(0, depth + BRACES.get(character, 0))  # fields may stand in the format of others
        if not depth and character in last:
            last[character] = place
    colon = last[":"]
    if colon <= last["/"]:
        return template, "", ""
    return template[:colon], ":", template[colon + 1 :]


def default_tag(facts: NamingFacts) -> str:
    """Return a tag that sorts by time and reads well, the same for every retry."""
    time = facts.scheduled_time.astimezone(timezone.utc)
    return as_tag(f"{time:{TIME_FORMAT}}-{facts.flow_run_name}")


def anonymous_tag(facts: NamingFacts) -> str:
    """Return a tag for an experiment without a name, unique to the flow run."""
    time = facts.scheduled_time.astimezone(timezone.utc)
    return f"{time:{TIME_FORMAT}}-{facts.flow_run_id.replace('-', '')[-12:]}"


def _fill(template: str, part: str, as_part: Callable[[str], str], facts: NamingFacts) -> str:
    """Fill in one part of a template, the path or the tag; each has its own allowed letters."""
    try:
        redact = Redactor(facts.parameters)
        redact.add(secrets_around())
        return _NameFormatter(template, as_part, redact).vformat(part, (), _fields(facts))
    except InvalidImageNameError:
        raise
    except (KeyError, IndexError, AttributeError, ValueError, TypeError) as error:
        known = ", ".join(sorted(_fields(facts)))
        raise InvalidImageNameError(
            template, f"its fields cannot be filled in ({error}); there are {known}"
        ) from error


def _fields(facts: NamingFacts) -> dict[str, Any]:
    return {
        **facts.parameters,
        "flow_run": SimpleNamespace(name=facts.flow_run_name, id=facts.flow_run_id),
        "flow": SimpleNamespace(name=facts.flow_name),
        "scheduled_time": facts.scheduled_time.astimezone(timezone.utc),
        "start_time": facts.start_time.astimezone(timezone.utc),
    }


class _NameFormatter(string.Formatter):
    """Formats fields as parts of a path or a tag; refuses secrets and anything private."""

    def __init__(self, template: str, as_part: Callable[[str], str], redact: Redactor) -> None:
        self.template = template
        self.as_part = as_part
        self.redact = redact

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        parts = re.split(r"[.\[\]]", field_name)
        if "_" in {part[:1] for part in parts}:
            raise InvalidImageNameError(self.template, f"field {field_name!r} is private")
        value, first = super().get_field(field_name, args, kwargs)
        if any(map(is_secret_name, parts)) or is_secret(value):
            raise InvalidImageNameError(self.template, f"field {field_name!r} is a secret")
        return value, first

    def format_field(self, value: Any, format_spec: str) -> str:
        text = super().format_field(value, format_spec)
        if self.redact.text(text) != text:
            raise InvalidImageNameError(self.template, "a secret would stand in it")
        return self.as_part(text)
