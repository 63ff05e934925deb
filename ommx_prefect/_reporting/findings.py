"""Find what deserves attention in a sealed flow run: contradictions, and changes since the last.

Where an experiment holds no solve, or is composed in a registry and not here, there is nothing to
find, and nothing is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ommx.experiment import Experiment, ExperimentRef

from ommx_prefect._prefect.log import warn
from ommx_prefect._prefect.states import describe_error
from ommx_prefect._registry.names import load_named
from ommx_prefect._reporting.night import Night
from ommx_prefect._sealing.lineage import Series, previous_nights

if TYPE_CHECKING:
    import pandas as pd

# Of all nights of a page together; more is for the command line.
MOST_SOLVES = 20_000
# Nights of the trend, with this one.
MOST_NIGHTS = 8


@dataclass(frozen=True)
class Findings:
    """Contradictions and changes that were found in an experiment.

    Attributes:
        before: Image name of the night that it is compared with; empty without one.
        before_url: Address of that flow run in the UI.
        worse: Sentences about what became worse.
        better: Likewise about what became better.
        counts: How many pairs are better, worse, the same, new and gone.
        not_comparable: Why times are not compared.
        contradictions: Sentences about claims that cannot all be true.
        nights: Tables of solves by name of the night, in order of time, this one last.
        note: Why there are no findings, where somebody could expect some.
    """

    before: str = ""
    before_url: str = ""
    worse: tuple[str, ...] = ()
    better: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    not_comparable: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    nights: Mapping[str, pd.DataFrame] = field(default_factory=dict, repr=False)
    note: str = ""


def find(night: Night) -> Findings:
    """Find contradictions and changes in an experiment; a comparison that fails becomes a note."""
    solves = sum(len(run.solves) for run in night.experiment.runs)
    if not solves:
        return Findings()
    if night.sealed.composed_in:
        return Findings(note="It is composed in its registry: compare it by the command below.")
    if solves > MOST_SOLVES:
        return Findings(note=f"It holds {solves} solves: compare it by the command below.")
    try:
        return _find(night, MOST_SOLVES - solves)
    except Exception as error:
        warn(f"The solves of the night were not compared: {describe_error(error)}")
        return Findings(note=f"Its solves were not compared: {describe_error(error)}")


def _find(night: Night, most_solves: int) -> Findings:
    from ommx_prefect import analysis  # brings pandas, which a night without solves does not need

    opened = load_named(night.sealed.stored_name, night.sealed.manifest_digest)
    if opened is None:
        return Findings(note="Its name points to another experiment meanwhile.")
    table = analysis.solves(opened)
    said = analysis.contradictions(table)
    contradictions = tuple(
        f"{x.instance}: {x.claim_by} says {x.claim}, {x.against_by} says {x.against}"
        for x in said.itertuples()
    )
    earlier = _earlier(night, most_solves)
    nights = {_short(ref.image_name): analysis.solves(each) for ref, each in earlier}
    nights[_short(night.sealed.image_name)] = table
    if not earlier:
        return Findings(contradictions=contradictions, nights=nights)
    last = earlier[-1][0]
    environments = [analysis.environments_of(each) for each in (earlier[-1][1], opened)]
    pair = _paired([nights[_short(last.image_name)], table])
    compared = analysis.compare(pair[0], pair[1], environments=environments)
    verdicts = compared.table["verdict"]
    better = compared.table[verdicts == "better"]
    return Findings(
        before=last.image_name,
        before_url=last.annotations.get("org.ommx-prefect.flow-run-url", ""),
        worse=tuple(compared.regressions),
        better=tuple(f"{x.instance} {x.adapter}: {x.why}" for x in better.itertuples()),
        counts={str(key): int(n) for key, n in verdicts.value_counts().items()},
        not_comparable=tuple(compared.not_comparable),
        contradictions=contradictions,
        nights=nights,
    )


def _paired(nights: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """Pair a solver with itself although its options changed, where each experiment has it once."""
    key = ["instance", "digest", "adapter", "seed"]
    is_once = not any(night.duplicated(key).any() for night in nights)
    return [night.assign(variant="") for night in nights] if is_once else nights


def _earlier(night: Night, most_solves: int) -> list[tuple[ExperimentRef, Experiment]]:
    """Return the last experiments before this one in order of time, as many as fit."""
    series = Series.of_annotations(night.experiment.annotations, night.sealed.image_name)
    found: list[tuple[ExperimentRef, Experiment]] = []
    for ref in previous_nights(series)[: MOST_NIGHTS - 1]:
        most_solves -= ref.solve_count
        if most_solves < 0:
            break
        opened = load_named(ref.image_name, ref.manifest_digest)
        if opened is not None:
            found.insert(0, (ref, opened))
    return found


def _short(name: str) -> str:
    return name.rpartition(":")[2]
