"""How tests of codecs store a value and look at what became of it, and the values they share."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pydantic
from ommx.experiment import Experiment

from ommx_prefect.codecs import log_value

SECRET = "hunter2-not-to-be-seen"
MOMENT = dt.datetime(2024, 1, 2, 3, 4, tzinfo=dt.timezone.utc)


@dataclasses.dataclass
class Point:
    x: int
    y: object = None


class Leaky(pydantic.BaseModel):
    """A model whose serializers reveal what it should hide."""

    password: pydantic.SecretStr = pydantic.SecretStr(SECRET)
    hidden: pydantic.SecretStr = pydantic.Field(pydantic.SecretStr(SECRET), exclude=True)

    @pydantic.field_serializer("password")
    def reveal(self, value):
        return value.get_secret_value()

    @pydantic.computed_field
    @property
    def url(self) -> str:
        return f"postgres://u:{self.hidden.get_secret_value()}@h"


def committed(value, **options):
    """Log a value as `v`, commit, and give the Run read back and what was reported."""
    experiment = Experiment.with_temp_local_registry()
    with experiment.run() as run:
        logged = log_value(run, "v", value, **options)
    experiment.commit()
    sealed = experiment.runs[0]
    assert sorted(sealed.attachment_names) == sorted(logged.names)
    return sealed, logged


def json_of(value, **options):
    sealed, logged = committed(value, **options)
    assert logged.names == ("v",)
    return sealed.get_json("v")


def reason_of(value):
    _, logged = committed(value)
    assert logged.names == ()
    (skipped,) = logged.skipped
    return skipped.reason


def stored_bytes(value, **options):
    sealed, _ = committed(value, **options)
    return b"".join(sealed.get_blob(name) for name in sealed.attachment_names)
