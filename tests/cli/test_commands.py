"""What all commands have: `--json`, completion in a shell, and words for a server that is away."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import uuid

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner

from ommx_prefect import load_experiment
from ommx_prefect._shards.shard import Shard
from ommx_prefect._stages.local import LocalStage
from ommx_prefect.cli import COMMANDS, LazyCommand, _waiting, app
from ommx_prefect.testing._scene import attempt_of


@pytest.mark.parametrize("name", [name for panel in COMMANDS.values() for name in panel])
def test_every_command_prints_json(name):
    (module,) = [panel[name][0] for panel in COMMANDS.values() if name in panel]
    command = LazyCommand(name, module, "", "").imported()
    assert "--json" in [option for each in command.params for option in each.opts]


def completed(words: str) -> list[str]:
    """What a shell offers for the last of some words, as bash asks for it."""
    asked = {
        "_OMMX_PREFECT_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    return CliRunner().invoke(app, [], env=asked, prog_name="ommx-prefect").stdout.split()


def test_a_shell_completes_commands_options_and_image_names(nights):
    assert completed("ommx-prefect re") == ["report", "replay", "recover"]
    assert completed("ommx-prefect show --ru") == ["--run", "--runs"]
    for command in ("show", "report", "compare", "replay", "push", "du"):
        assert nights.first in completed(f"ommx-prefect {command} {nights.repository}:f")
        assert nights.second not in completed(f"ommx-prefect {command} {nights.repository}:f")


def test_a_server_that_is_away_is_said_in_words_and_exit_1(command):
    stage = LocalStage(str(uuid.uuid4()))
    stage.begin(attempt_of(stage.flow_run_id))
    try:
        with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
            answer = command("status", "--json", "--min-age", "0s")
    finally:
        shutil.rmtree(stage.path)
    (row,) = [x for x in json.loads(answer.out) if x["flow_run_id"] == stage.flow_run_id]
    assert row["owner"] == row["flow_run_id"]  # release 0.1.0 had this key alone
    assert answer.code == 1
    assert "Prefect's API cannot be asked: http://127.0.0.1:9/api" in row["why"]


def test_a_seal_that_takes_long_says_that_it_is_at_work(command, monkeypatch):
    monkeypatch.setattr(_waiting, "EVERY_SECONDS", 0.001)
    stage = LocalStage(str(uuid.uuid4()))
    for number in range(300):
        attempt = attempt_of(stage.flow_run_id, number)
        stage.put(Shard(attempt, "finished", parameters=attempt.parameters("Completed", 1.0)))
    answer = command("seal", stage.flow_run_id, "--interrupted", "--json")
    assert answer.code == 0, answer.err
    assert len(load_experiment(stage.flow_run_id).runs) == 300
    assert f"... sealing {stage.flow_run_id}" in answer.err
    assert json.loads(answer.out)


def test_versions_are_printed(command):
    answer = command("--version")
    assert answer.code == 0
    assert [x.split()[0] for x in answer.out.split(", ")] == [
        *("ommx-prefect", "ommx", "prefect", "Python"),
    ]


def test_a_shell_completes_commands(command):
    assert "completion" in command("--help").out
    assert command("--help").code == 0


@pytest.mark.server
def test_it_runs_as_a_module_and_wrong_use_is_2():
    done = subprocess.run(
        [sys.executable, "-m", "ommx_prefect", "show"], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 2
    assert "IMAGE" in done.stderr
