"""Whatever an experiment or an argument says, no command lets it act on the terminal."""

from __future__ import annotations

import contextlib

import pytest
from ommx.experiment import Experiment

from ommx_prefect._targets.annotations import FLOW_RUN_FACTS, LOSS_FACTS, VERSION_FACTS
from ommx_prefect.cli import COMMANDS
from ommx_prefect.solvers._solve import solve_in
from tests.security.test_shown import EVIL
from tests.support.nights import knapsack

FIRST, SECOND = "evil.local/shown:first", "evil.local/shown:second"
ANNOTATIONS = [*FLOW_RUN_FACTS.values(), *VERSION_FACTS.values(), *LOSS_FACTS.values()]
TOLD = ("instance", "outcome", "adapter", "sense", "solver_warning", "option.x", "readers", "host")


@pytest.fixture(scope="module")
def evil():
    """Two nights in which each text that somebody else gives is evil."""
    for name in (FIRST, SECOND):
        experiment = Experiment(name)
        for key in ANNOTATIONS:
            experiment.set_annotation(key, EVIL)
        experiment.log_json("environment", {EVIL: EVIL, "cpu": EVIL, "packages": {EVIL: EVIL}})
        experiment.log_json(EVIL, {EVIL: EVIL})
        with experiment.run() as run:
            solve_in(run, "highs", knapsack(5, EVIL), limits={}, raise_on_failure=False)
            for key in ("prefect.task", "prefect.state", "prefect.host", EVIL):
                run.log_parameter(key, EVIL)
            run.log_json(EVIL, {EVIL: EVIL})
        with contextlib.suppress(ValueError), experiment.run() as run:
            for key in TOLD:
                run.log_parameter(key, EVIL)
            raise ValueError(EVIL)
        experiment.commit()


# They ask Prefect, and print by the same functions.
NOT_HERE = {"prune", "doctor", "status", "recover"}
CALLS = [
    ("list",),
    ("list", "evil.local/shown"),
    ("show", FIRST),
    ("show", FIRST, "--run", "0"),
    ("show", FIRST, "--run", "1"),
    ("show", EVIL),
    ("compare", FIRST, SECOND),
    ("compare", FIRST, EVIL),
    ("report", FIRST, "--output", "{folder}/report.html"),
    ("report", EVIL),
    ("replay", FIRST),
    ("find", f"instance={EVIL}"),
    ("find", EVIL),
    ("export", FIRST, "{folder}/exported"),
    ("push", EVIL),
    ("push", FIRST, "--tag", EVIL),
    ("pull", EVIL),
    ("du",),
    ("seal", EVIL),
    ("seal", "--quarantine", EVIL),
]


@pytest.mark.usefixtures("evil")
@pytest.mark.parametrize("call", CALLS, ids=lambda call: " ".join(call[:2]).strip()[:30])
def test_a_command_shows_nothing_that_acts(call, command, tmp_path):
    answer = command(*(each.format(folder=tmp_path) for each in call))
    shown = (answer.out + answer.err).replace("\n", "")
    assert shown
    assert {letter for letter in shown if not letter.isprintable()} == set()
    for path in tmp_path.rglob("*.html"):
        text = path.read_text()
        assert {x for x in text if not x.isprintable()} <= {"\n"}


def test_each_command_is_called():
    there = {name for commands in COMMANDS.values() for name in commands}
    assert there == {call[0] for call in CALLS} | NOT_HERE
