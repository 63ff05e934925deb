"""`ommx-prefect doctor` says what would be used here, what is wrong, and shows no password."""

from __future__ import annotations

import json
import uuid

import pytest
from typer.testing import CliRunner

from ommx_prefect.blocks import OMMXRegistry
from ommx_prefect.cli import app


def asked(*arguments: str) -> tuple[int, dict[str, tuple[str, str]], str]:
    answer = CliRunner().invoke(app, ["doctor", "--json", *arguments])
    found = json.loads(answer.stdout)
    return answer.exit_code, {x["what"]: (x["found"], x["cure"]) for x in found}, answer.stdout


def test_all_that_is_well_is_one_screen(server):
    code, found, _ = asked()
    assert code == 0, found
    assert set(found) == {
        *("versions", "server", "clock", "registry", "credentials", "stage"),
        *("solvers", "Local Registry", "disk"),
    }
    assert server in found["server"][0]
    assert found["stage"][0] == "local"
    assert "highs" in found["solvers"][0]
    screen = CliRunner().invoke(app, ["doctor"]).stdout
    assert len(screen.splitlines()) < 25


def test_what_is_wrong_is_told_with_what_to_do_and_without_the_password(server, monkeypatch):
    name, password = f"b{uuid.uuid4().hex[:8]}", f"sesame-{uuid.uuid4().hex}"
    block = OMMXRegistry(
        registry="localhost:9", repository="acme", username="robot", password=password
    )
    block.save(name)
    monkeypatch.setenv("PREFECT_INTEGRATIONS_OMMX_REGISTRY", f"ommx-registry/{name}")
    monkeypatch.setenv("PREFECT_INTEGRATIONS_OMMX_STAGE", "s3-bucket/nowhere")
    code, found, shown = asked()
    assert code == 1
    assert "localhost:9" in found["registry"][0]
    assert "username and password" in found["registry"][1]
    assert "nowhere" in found["stage"][0]
    assert "PREFECT_INTEGRATIONS_OMMX_STAGE" in found["stage"][1]
    assert found["credentials"] == ("of the block (not shown)", "")
    assert password not in shown
    assert "robot" not in shown


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/api"])
def test_a_server_that_does_not_answer(url):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: url}):
        code, found, _ = asked()
    assert code == 1
    assert "does not answer" in found["server"][0]
    assert "prefect server start" in found["server"][1]
