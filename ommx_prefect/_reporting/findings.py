"""Find contradictions in a sealed flow run, and changes since the previous one.

Where an experiment holds no solve there is nothing to find, and nothing is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ommx_prefect._prefect.log import warn
from ommx_prefect._reporting.night import Night
from ommx_prefect._reporting.solved import Solved, earlier, solved
from ommx_prefect._values.error_texts import describe_error

if TYPE_CHECKING:
    import pandas as pd

# Of all nights of a page together; more is for the command line.
MOST_SOLVES = 20_000
# Nights of the trend, with this one.
MOST_NIGHTS = 8
# A Run, as claims name it; and a tag that begins with a time.
_RUN = re.compile(" *run ([0-9]+) ")
_DATED = re.compile(r"[0-9]{4}([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})-.*")
# The day of a night; and its time, where there are several a day.
FORMS = (r"\1-\2", r"\1-\2 \3:\4", r"\1-\2 \3:\4:\5")


@dataclass(frozen=True)
class Findings:
    """Contradictions and changes that were found in an experiment.

    Attributes:
        before: Image name of the night that it is compared with; empty without one.
        before_flow_run: Id of that flow run.
        worse: Sentences about what became worse.
        better: Sentences about what became better.
        counts: How many pairs are better, worse, the same, new and gone.
        not_comparable: Why times are not compared.
        contradictions: Sentences about claims that cannot all be true: of this night, and of this
            one and the night before.
        contradicting: The ids of the Runs of this night that claim it.
        nights: Tables of solves by name of the night, in order of time, this one last.
        note: Why there are no findings, where somebody could expect some.
    """

    before: str = ""
    before_flow_run: str = ""
    worse: tuple[str, ...] = ()
    better: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    not_comparable: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    contradicting: tuple[int, ...] = ()
    nights: Mapping[str, pd.DataFrame] = field(default_factory=dict, repr=False)
    note: str = ""


def find(night: Night) -> Findings:
    """Find contradictions and changes in an experiment; a comparison that fails becomes a note."""
    solves = sum(len(run.solves) for _, run in night.runs)
    if not solves:
        return Findings()
    if solves > MOST_SOLVES:
        many = f"It holds {solves} solves, too many to compare here"
        return Findings(note=f"{many}: ommx-prefect compare EARLIER {night.sealed.image_name}")
    try:
        return _find(night, MOST_SOLVES - solves)
    except Exception as error:
        warn(f"The solves of the night were not compared: {describe_error(error)}")
        return Findings(note=f"Its solves were not compared: {describe_error(error)}")


def _find(night: Night, most_solves: int) -> Findings:
    from ommx_prefect import analysis  # brings pandas, which a night without solves does not need

    tonight = solved(night)
    if tonight is None:
        return Findings(note="Its name points to another experiment meanwhile.")
    before = earlier(night, MOST_NIGHTS - 1, most_solves)
    own, last = tonight.table.assign(experiment=""), [each.table for each in before[-1:]]
    own, *last = _paired([own, *last])
    claims = list(analysis.contradictions(own, earlier=last).itertuples())
    nights = [*before, tonight]
    tables = [each.table for each in nights]
    found = Findings(
        contradictions=tuple(map(_contradiction, claims)),
        contradicting=_runs_of(claims),
        nights=dict(zip(titles([x.image_name for x in nights]), _paired(tables), strict=True)),
    )
    return _compared(found, before[-1], tonight) if before else found


def _compared(found: Findings, last: Solved, tonight: Solved) -> Findings:
    from ommx_prefect import analysis

    pair = _paired([last.table, tonight.table])
    environments = [last.environments, tonight.environments]
    compared = analysis.compare(pair[0], pair[1], environments=environments)
    verdicts = compared.table["verdict"]
    better = compared.table[verdicts == "better"]
    return replace(
        found,
        before=last.image_name,
        before_flow_run=last.flow_run_id,
        worse=tuple(compared.regressions),
        better=tuple(f"{x.instance} {x.adapter}: {x.why}" for x in better.itertuples()),
        counts={str(key): int(n) for key, n in verdicts.value_counts().items()},
        not_comparable=tuple(compared.not_comparable),
    )


def _paired(nights: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """Pair a solver with itself although its options changed, where each experiment has it once."""
    key = ["instance", "digest", "adapter", "seed"]
    is_once = not any(night.duplicated(key).any() for night in nights)
    return [night.assign(variant="") for night in nights] if is_once else nights


def _contradiction(claim: Any) -> str:
    """Return a sentence about two claims; each names its Run and the adapter."""
    by, against = claim.claim_by.strip(), claim.against_by.strip()
    return f"{claim.instance}: {by} says {claim.claim}, {against} says {claim.against}"


def _runs_of(claims: Iterable[Any]) -> tuple[int, ...]:
    """Return the ids of the Runs that contradict each other, each once."""
    makers = (by for claim in claims for by in (claim.claim_by, claim.against_by))
    return tuple(dict.fromkeys(int(x[1]) for by in makers if (x := _RUN.match(by))))


def titles(image_names: Sequence[str]) -> list[str]:
    """Return the labels of nights in a picture: the days, or times, with which their tags begin.

    Where that does not tell them apart, or a flow chooses its tags, they are called by those.
    """
    tags = [name.rpartition(":")[2] for name in image_names]
    for form in FORMS:
        short = [_DATED.sub(form, tag) for tag in tags]
        if len(set(short)) == len(short):
            return short
    return tags
