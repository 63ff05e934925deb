"""The summary page of a sealed flow run in Prefect's UI.

Verdict first; then what failed, what contradicts, what changed, pictures, and what the experiment
is. All text of others is shown cleaned, and the page stays within `MOST_BYTES`: pictures give way
first, then the longest lists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ommx_prefect._format.earlier import first_own_run
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._reporting.failures import failures, replay_of
from ommx_prefect._reporting.findings import Findings
from ommx_prefect._reporting.markdown import (
    MOST_LINES,
    command,
    link,
    listed,
    many,
    more,
    name_in_shell,
)
from ommx_prefect._reporting.night import Night
from ommx_prefect._shards import columns
from ommx_prefect._targets import annotations as names
from ommx_prefect._values.display import as_code, for_markdown, for_terminal

MOST_BYTES = 256_000
# Of Runs whose claims contradict each other, the commands that solve them again.
MOST_REPLAYS = 4


@dataclass(frozen=True)
class Page:
    """A page, and the sentence that stands for it in a list of pages."""

    description: str
    text: str


def page_of(
    night: Night,
    found: Findings,
    pictures: Sequence[str] = (),
    table_note: str = "",
    unsealed: int = 0,
) -> Page:
    """Write the page of a sealed flow run.

    Args:
        night: The night.
        found: What it found in its solves.
        pictures: Pictures of it, as markdown.
        table_note: What is to be said of the table of Runs.
        unsealed: How many earlier flow runs of its series are not sealed.
    """
    said = description(night, found, unsealed)
    sections = [
        [_headline(night, found), "", for_markdown(said) + _where(night)],
        _unsealed(unsealed),
        _not_pushed(night),
        failures(night),
        _contradictions(night, found),
        _changes(found),
        list(pictures),
        _experiment(night),
        [table_note] if table_note else [],
        _how(night, found),
        _warnings(night),
    ]
    return Page(said, _within_bounds(sections, pictures))


def description(night: Night, found: Findings, unsealed: int = 0) -> str:
    """Return the verdict on a flow run in one sentence that names the worst."""
    sealed = night.sealed
    counts = {status: n for status, n in sealed.counts.items() if status != "finished" and n}
    parts = [sealed.status, many(sum(sealed.counts.values()), "Run")]
    parts += [f"{n} {status}" for status, n in counts.items()]
    if found.contradictions:
        parts.append(many(len(found.contradictions), "contradiction"))
    if found.worse:
        parts.append(_worse(found))
    if sealed.push_problem:
        parts.append("not pushed")
    if night.experiment.annotations.get(names.DEGRADED):
        parts.append("degraded")
    if unsealed:
        parts.append(f"{many(unsealed, 'earlier flow run')} not sealed")
    return ", ".join(parts)


def _headline(night: Night, found: Findings) -> str:
    """Return the page's headline: how the night ended, and the worst thing in it."""
    counts = night.sealed.counts
    worst = (
        many(len(found.contradictions), "contradiction") if found.contradictions else "",
        _worse(found) if found.worse else "",
        f"{many(counts['failed'], 'Run')} failed" if counts.get("failed") else "",
        f"{many(counts['interrupted'], 'Run')} interrupted" if counts.get("interrupted") else "",
        "nothing worse than last night" if found.before else "",
    )
    said = next(filter(None, worst), "")
    return f"## Experiment {night.sealed.status}" + (f": {said}" if said else "")


def _worse(found: Findings) -> str:
    return f"{len(found.worse)} worse than last night"


def unsealed_page(error: str, mend: str) -> Page:
    """Write the page of a flow run whose seal failed."""
    lines = ["## Experiment not sealed", "", for_markdown(error), "", *command(mend)]
    return Page("not sealed", "\n".join(lines) + "\n")


def _where(night: Night) -> str:
    """Return links to the flow run, its flow and its deployment."""
    facts = night.facts
    found = (
        link("flow run", "flow-run", facts.flow_run_id),
        link("flow", "flow", facts.flow_id),
        link("deployment", "deployment", facts.deployment_id),
    )
    return "".join(f" · {each}" for each in found if each)


def _unsealed(count: int) -> list[str]:
    if not count:
        return []
    what = f"{many(count, 'earlier flow run')} of this series {'is' if count == 1 else 'are'}"
    return [f"**{what} not sealed**: `ommx-prefect status` says why, `ommx-prefect recover` seals"]


def _not_pushed(night: Night) -> list[str]:
    if not night.sealed.push_problem:
        return []
    problem = for_markdown(night.sealed.push_problem)
    in_python = as_code(f"ommx_prefect.seal({night.facts.flow_run_id!r})")
    again = [*command(night.facts.command), "", f"Or in Python: {in_python}"]
    return ["### Not pushed", "", problem, "", *again]


def _contradictions(night: Night, found: Findings) -> list[str]:
    lines = listed("Contradictions", found.contradictions)
    again = filter(None, (replay_of(night, x) for x in found.contradicting[:MOST_REPLAYS]))
    commands = ", ".join(again)
    return [*lines, "", f"Solve them again: {commands}"] if lines and commands else lines


def _warnings(night: Night) -> list[str]:
    lines = listed("Warnings", night.sealed.warnings)
    if not night.experiment.annotations.get(names.DEGRADED):
        return lines
    return [*lines, "", f"What there is of each Run: `ommx-prefect show {name_in_shell(night)}`"]


def _changes(found: Findings) -> list[str]:
    if found.note:
        return ["### Since the previous night", "", for_markdown(found.note)]
    if not found.before:
        return [FIRST_NIGHT] if found.nights else []
    counts = ", ".join(f"{n} {verdict}" for verdict, n in found.counts.items()) or "no solve"
    before = link("its flow run", "flow-run", found.before_flow_run)
    lines = ["### Since the previous night", ""]
    lines.append(f"{for_markdown(counts)}, against {as_code(found.before)} {before}".rstrip())
    lines.append("")
    lines += [f"- **worse**: {for_markdown(x)}" for x in found.worse[:MOST_LINES]]
    lines += [f"- better: {for_markdown(x)}" for x in found.better[:MOST_LINES]]
    lines += [f"- times are not compared: {for_markdown(x)}" for x in found.not_comparable]
    return lines + more(max(len(found.worse), len(found.better)), "by the command below")


def _experiment(night: Night) -> list[str]:
    sealed = night.sealed
    runs = ", ".join(f"{count} {status}" for status, count in sealed.counts.items()) or "none"
    rows = [
        ("Image", as_code(sealed.image_name)),
        ("Digest", as_code(sealed.manifest_digest)),
        ("Runs", runs),
        *_earlier(night),
        *_places(night),
        ("Environment", for_markdown(_environment(night))),
    ]
    return ["### Experiment", "", *(f"- **{title}**: {said}" for title, said in rows)]


def _earlier(night: Night) -> list[tuple[str, str]]:
    count = first_own_run(night.experiment.annotations)
    return [("Earlier nights", f"{many(count, 'Run')}, before its own")] if count else []


def _places(night: Night) -> list[tuple[str, str]]:
    sealed = night.sealed
    if sealed.composed_in:
        return [("Registry", "composed there")]
    local = ("Local Registry", as_code(registry_root()))
    if sealed.pushed is None:
        return [local]
    if not sealed.pushed:
        return [local, ("Registry", "**not pushed**")]
    under = "" if sealed.status == "finished" else f" as {as_code(sealed.remote_name)}"
    return [local, ("Registry", f"pushed{under}")]


def _environment(night: Night) -> str:
    versions = [("Python", names.PYTHON_VERSION), ("OMMX", names.OMMX_VERSION)]
    versions += [("Prefect", names.PREFECT_VERSION)]
    told = night.experiment.annotations
    hosts = sorted({str(run.parameters.get(columns.HOST, "")) for _, run in night.runs})
    shown = [host for host in hosts if host][:5]
    found = [f"{title} {told[name]}" for title, name in versions if name in told]
    return ", ".join([*found, *(f"on {host}" for host in shown)])


def _how(night: Night, found: Findings) -> list[str]:
    sealed = night.sealed
    imported = "import ommx_prefect" if sealed.parts else "from ommx.experiment import Experiment"
    lines = ["### Open, pull, compare", "", "```python", imported]
    lines += [for_terminal(sealed.opens_with), "```"]
    if sealed.pushed:
        pulled = f'ommx_prefect.pull_experiment("{sealed.remote_name}")'
        lines += ["", f"On another machine: {as_code(pulled)}"]
    if found.before:
        lines += ["", *command(f"ommx-prefect compare {found.before} {name_in_shell(night)}")]
    return lines


def _within_bounds(sections: list[list[str]], pictures: Sequence[str]) -> str:
    """Join the sections within the size limit: pictures are dropped first, then long lists cut."""
    cures: tuple[Callable[[list[list[str]]], list[list[str]]], ...] = (
        lambda kept: kept,
        lambda kept: [[TOO_LARGE] if x and x == list(pictures) else x for x in kept],
        lambda kept: [[*x[:8], TOO_LONG] if len(x) > 9 else x for x in kept],
    )
    for cure in cures:
        sections = cure(sections)
        text = "\n\n".join("\n".join(section) for section in sections if section) + "\n"
        if len(text.encode()) <= MOST_BYTES:
            return text
    return text.encode()[:MOST_BYTES].decode(errors="ignore")


FIRST_NIGHT = "No earlier finished night of this series is known: there is nothing to compare with."
TOO_LARGE = "The pictures are too large for this page."
TOO_LONG = "More of this is in the experiment."
