"""The tables of README and docs name what there is, all of it and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import typer.main
from prefect.client.schemas.objects import StateType

import ommx_prefect
from ommx_prefect import codecs, exceptions
from ommx_prefect._prefect.states import RUN_STATUS
from ommx_prefect._reporting import events
from ommx_prefect._reporting.keys import page_key, runs_key
from ommx_prefect._reporting.night import FlowRunFacts
from ommx_prefect._settings import OmmxSettings
from ommx_prefect._shards import columns
from ommx_prefect._shards.shard import Attempt
from ommx_prefect._stages import documents
from ommx_prefect._stages.block_store import KINDS
from ommx_prefect.cli import app
from tests.crash import suite
from tests.documents.pages import page
from tests.test_architecture import LAYERS, PUBLIC, ROW

GUARANTEES = page("docs/explanations/guarantees.md")


def test_every_public_name_is_in_the_readme():
    missing = [name for name in ommx_prefect.__all__ if name not in page("README.md").text]
    assert missing == []


def shown_in_the_reference() -> Iterator[str]:
    """The names that the API's page shows: each directive's own, and of a module its members."""
    text = page("docs/reference/api.md").text
    for name, options in re.findall(r"^::: (\S+)\n((?: +\S.*\n)*)", text, re.MULTILINE):
        heading = re.search(r"heading: (\w+)", options)
        yield heading[1] if heading else name.rpartition(".")[2]
        _, chosen, members = options.partition("members:")
        if chosen:
            yield from re.findall(r"\w+", members)
        elif name in PUBLIC:
            yield from PUBLIC[name].split()


def test_every_public_name_is_in_the_reference():
    modules = {name.rpartition(".")[2] for name in PUBLIC}
    public = {name for names in PUBLIC.values() for name in names.split()} - modules
    assert public - set(shown_in_the_reference()) == set()


def test_the_columns_of_every_run_are_in_the_reference():
    attempt = Attempt("o", "f", 1, "t", "task", "task-0", 1, "n", 1.5, "h", 7)
    described = {
        row[0].strip("`") for row in page("docs/reference/stored.md").table_below("## Run")
    }
    ours = {x for x in vars(columns).values() if str(x).startswith("prefect.")}
    assert {x for x in described if x.startswith("prefect.")} == ours
    assert set(attempt.parameters("Completed", 1.0)) == ours - {columns.FLOW_RUN_ID}


def test_the_media_type_of_every_codec_is_in_the_reference():
    stored = page("docs/reference/stored.md").text
    media_types = {entry.media_type for entry in codecs.registry.entries} - {"*/*"}
    assert {x for x in media_types if f"`{x}`" not in stored} == set()


def test_the_tree_of_errors_names_every_error():
    tree = exceptions.__doc__ or ""
    errors = [
        x
        for x in vars(exceptions).values()
        if isinstance(x, type) and x.__module__ == exceptions.__name__
    ]
    assert all(error.__name__ in tree for error in errors)


def test_every_state_of_prefect_has_its_row():
    states = page("docs/reference/states.md").text
    assert set(RUN_STATUS) == set(StateType)
    names = {"Completed", "Failed", "Cancelled", "Crashed", "TimedOut", "NotReady", "Cached"}
    assert {name for name in names if name not in states} == set()


def test_the_command_line_is_described_as_it_is():
    described = page("docs/reference/cli.md").text
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, command in commands.items():
        assert f"## {name}" in described
        _, _, section = described.partition(f"## {name}\n")
        params = command.imported().params
        options = [option for each in params for option in each.opts if option[0] == "-"]
        section = section.partition("\n## ")[0]
        assert [x for x in options if f"`{x}" not in section] == []


def test_every_package_is_in_its_row_in_contributing():
    rows = page("CONTRIBUTING.md").table_below("## Where things are")
    named = {name: int(row[0]) for row in rows for name in re.findall(r"`(\w+)`", row[1])}
    assert named == {name: len(LAYERS) - 1 - row for name, row in ROW.items()}


def test_every_file_of_a_stage_is_described():
    rows = page("docs/reference/formats.md").table_below("## The directory of a flow run")
    said = {
        name.partition("/")[0]: row[-1] for row in rows for name in re.findall(r"`([^`]+)`", row[0])
    }
    reach = {"shared": "shared", "host": "this host"}
    assert said == {kind.name: reach[kind.reach] for kind in documents.KINDS.values()}


def test_settings_events_and_kinds_of_blocks_are_described():
    prefix = "PREFECT_INTEGRATIONS_OMMX_"
    rows = page("docs/reference/settings.md").table_below("## Of this package")
    fields = OmmxSettings.model_fields.items()
    said = {row[0].strip("`"): (row[1].strip("`"), row[2]) for row in rows}
    assert list(said) == [f"{prefix}{name.upper()}" for name, _ in fields]
    for name, field in fields:
        default, meaning = said[f"{prefix}{name.upper()}"]
        assert default == str(field.default)
        assert meaning.startswith(str(field.description).rstrip("."))
    told = page("docs/reference/events.md").text
    facts = FlowRunFacts("", "", "", "slug")
    for name in (page_key(facts), runs_key(facts), f"{page_key(facts)}-progress"):
        assert f"`{name.replace('slug', '<slug>')}`" in told
    rows = {row[0].strip("`") for row in page("docs/reference/events.md").table_below("## Events")}
    ours = {x for x in vars(events).values() if str(x).startswith("ommx-prefect.")}
    assert rows == ours
    stages = page("docs/guides/stages.md").text
    assert [kind for kind in KINDS if f"`{kind}/NAME`" not in stages] == []


def test_what_the_guarantees_say_is_shown_by_cases_and_tests_that_exist():
    rows = [row[-1] for row in GUARANTEES.table_below("## What dies, and what is kept")]
    known = "\n".join(path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py"))
    shown = [re.findall(r'"([^"]+)"', row) for row in rows]
    tests = [re.findall(r"`(test_\w+)`", row) for row in rows]
    assert all(cases or names for cases, names in zip(shown, tests, strict=True))
    assert {case for row in shown for case in row} == set(suite.cases())
    assert [x for row in tests for x in row if f"def {x}(" not in known] == []
