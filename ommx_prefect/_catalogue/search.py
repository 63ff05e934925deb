"""Find Runs by what their parameters say, across all experiments of the Local Registry."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ommx_prefect._catalogue.contents import parameters_of
from ommx_prefect._catalogue.listing import Listed
from ommx_prefect._catalogue.opened import Opened
from ommx_prefect._format.earlier import first_own_run
from ommx_prefect._shards import columns

# Longer signs first, so that `>=` is not `>`.
SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "!=": lambda found, wanted: bool(found != wanted),
    ">=": lambda found, wanted: bool(found >= wanted),
    "<=": lambda found, wanted: bool(found <= wanted),
    "=": lambda found, wanted: bool(found == wanted),
    ">": lambda found, wanted: bool(found > wanted),
    "<": lambda found, wanted: bool(found < wanted),
    "~": lambda found, wanted: str(wanted) in str(found),
}
ORDERED = frozenset({">", ">=", "<", "<="})
_CONDITION = re.compile(
    rf"(?P<key>[^{re.escape('!><=~')}]+)(?P<sign>{'|'.join(SIGNS)})(?P<value>.*)"
)


@dataclass(frozen=True)
class Condition:
    """What a Run parameter has to be: `outcome=optimal`, `solve_seconds>10`, `instance~knap`."""

    key: str
    sign: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition.

        Raises:
            ValueError: It is none.
        """
        found = _CONDITION.fullmatch(text)
        if found is None or (found["sign"] == "=" and _is_another_sign(found["value"])):
            raise ValueError(
                f"{text!r} is no condition; write key=value, key>1, key!=x or key~part"
            )
        return cls(found["key"].strip(), found["sign"], found["value"])

    def holds(self, parameters: Mapping[str, Any]) -> bool:
        """Tell whether the parameters of a Run meet it; a missing parameter meets no condition."""
        found = parameters.get(self.key)
        if found is None:
            return False
        number, wanted = _number(found), _number(self.value)
        if self.sign in ORDERED and (number is None) != (wanted is None):
            return False  # a word is neither above nor below a number
        if self.sign == "~" or number is None or wanted is None:
            return SIGNS[self.sign](str(found).lower(), self.value.lower())
        return SIGNS[self.sign](number, wanted)


def unknown_keys(conditions: Iterable[Condition], known: Collection[str]) -> Iterator[str]:
    """Say which keys no Run has, each with a known key of similar spelling."""
    for key in {x.key: None for x in conditions if x.key not in known}:
        near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.6)
        yield f"No Run here has {key}." + (f" Did you mean {near[0]}?" if near else "")


@dataclass(frozen=True)
class FoundRun:
    """A Run with its parameters, among which `status` and `reason` count."""

    image: str
    run: int
    parameters: Mapping[str, Any] = field(default_factory=dict)


def every_run(experiments: Iterable[Listed]) -> Iterator[FoundRun]:
    """Yield the Runs of the given experiments.

    An experiment under several names, such as `latest`, counts once, under the first of them.
    Experiments that accumulate hold the same Runs again: each is found once, in the experiment of
    its own flow run, or where that was removed in the first one that still has it.
    """
    listed = _each_once(experiments)
    seen = {each.flow_run_id for each in listed if each.stored_name}
    for each in listed:
        runs = list(_runs_of(each, seen))
        seen |= {str(run.parameters.get(columns.FLOW_RUN_ID, "")) for run in runs}
        yield from runs


def _each_once(experiments: Iterable[Listed]) -> list[Listed]:
    by_digest: dict[str, Listed] = {}
    for each in experiments:
        by_digest.setdefault(each.digest, each)
    return list(by_digest.values())


def _runs_of(each: Listed, seen: Container[str]) -> Iterator[FoundRun]:
    if not each.stored_name:
        return
    with contextlib.suppress(RuntimeError):  # damaged, or removed meanwhile
        opened = Opened.of(each.image, each.stored_name, each.digest)
        logged = parameters_of(opened)
        first = first_own_run(opened.experiment.annotations)
        for run in opened.experiment.runs:
            if run.run_id < first and str(logged[run.run_id].get(columns.FLOW_RUN_ID)) in seen:
                continue
            own = {"status": run.status, "reason": run.lifecycle_reason}
            yield FoundRun(each.image, run.run_id, {**own, **logged[run.run_id]})


def _is_another_sign(value: str) -> bool:
    """Tell `==x`, `=>5` and `=<5`, which somebody means otherwise, from a name such as `<b>`."""
    return value.startswith("=") or (value[:1] in ("<", ">") and _number(value[1:]) is not None)


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
