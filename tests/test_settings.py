"""Where the settings of this package may stand: the environment, a profile, and `prefect.toml`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.tiers import some

ASK = "from ommx_prefect._settings import OmmxSettings; print(OmmxSettings().model_dump_json())"
PLACES = {
    "environment": {},
    "prefect.toml": {"prefect.toml": "[integrations.ommx]\n{settings}"},
    "pyproject.toml": {"pyproject.toml": "[tool.prefect.integrations.ommx]\n{settings}"},
    "profile": {"home/profiles.toml": 'active = "ours"\n[profiles.ours]\n{variables}'},
}
WANTED = {"stage": "s3-bucket/shards", "registry": "ommx-registry/prod", "flush_seconds": "0.5"}


@pytest.mark.server
@pytest.mark.parametrize("place", some(PLACES, {"pyproject.toml"}))
def test_a_setting_is_read_from_each_place(place, tmp_path):
    variables = {f"PREFECT_INTEGRATIONS_OMMX_{key.upper()}": x for key, x in WANTED.items()}
    texts = {
        "settings": "".join(f'{key} = "{value}"\n' for key, value in WANTED.items()),
        "variables": "".join(f'{key} = "{value}"\n' for key, value in variables.items()),
    }
    (tmp_path / "home").mkdir()
    for name, text in PLACES[place].items():
        (tmp_path / name).write_text(text.format(**texts))
    plain = {key: x for key, x in os.environ.items() if not key.startswith("PREFECT_")}
    environment = {**plain, "PREFECT_HOME": str(tmp_path / "home")}
    environment |= variables if place == "environment" else {}
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for said in (
        '"stage":"s3-bucket/shards"',
        '"registry":"ommx-registry/prod"',
        '"flush_seconds":0.5',
    ):
        assert said in done.stdout
