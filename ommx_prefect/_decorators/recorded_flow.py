"""A Prefect flow that is still sealed when `with_options` has replaced its hooks."""

from __future__ import annotations

from typing import Any, ParamSpec, TypeVar

from prefect import Flow

from ommx_prefect._decorators.hooks import ensure_sealed
from ommx_prefect._flowrun.settings import SETTINGS, ExperimentSettings, settings_of

P = ParamSpec("P")
R = TypeVar("R")


class RecordedFlow(Flow[P, R]):
    """A Prefect flow whose every run is sealed, also where its hooks are replaced."""

    def with_options(self, **options: Any) -> RecordedFlow[P, R]:
        """Return a copy with other options, as `prefect.Flow.with_options` does."""
        copy = _recorded(super().with_options(**options))
        if (settings := settings_of(copy)) is not None:
            ensure_sealed(copy, settings)
        return copy


def as_recorded(flow: Flow[P, R], settings: ExperimentSettings) -> RecordedFlow[P, R]:
    """Return a flow that Prefect has made as one that carries its settings."""
    setattr(flow.fn, SETTINGS, settings)
    return _recorded(flow)


def _recorded(flow: Flow[P, R]) -> RecordedFlow[P, R]:
    made: RecordedFlow[P, R] = object.__new__(RecordedFlow)
    made.__dict__.update(flow.__dict__)
    return made
