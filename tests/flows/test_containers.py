"""The files for containers and clusters are whole, as far as they can be read without an engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import venv
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LINES = [
    line
    for line in (ROOT / "flows/Dockerfile").read_text().replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]


def arguments_of(instruction: str) -> list[str]:
    return [line.partition(" ")[2] for line in LINES if line.startswith(f"{instruction} ")]


def test_the_dockerfile_copies_what_there_is_and_installs_extras_that_there_are():
    assert LINES[0].startswith("FROM ")
    for copied in arguments_of("COPY"):
        *sources, _ = copied.split()
        assert all((ROOT / source).exists() for source in sources), copied
    project = (ROOT / "pyproject.toml").read_text()
    (extras,) = re.findall(r'pip install "\.\[([\w,-]+)\]"', "\n".join(arguments_of("RUN")))
    assert [x for x in extras.split(",") if f"\n{x} = [" not in project] == []
    assert json.loads(arguments_of("CMD")[0])[0] == "prefect"
    assert arguments_of("USER") == ["nightly"]


def test_the_job_runs_once_keeps_no_secret_and_has_time_to_seal():
    job = yaml.safe_load((ROOT / "flows/kubernetes.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert job["spec"]["backoffLimit"] == 0
    pod = job["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["terminationGracePeriodSeconds"] >= 60
    mounts = {x["name"]: x["mountPath"] for x in pod["containers"][0]["volumeMounts"]}
    assert set(mounts) == {x["name"] for x in pod["volumes"]}
    assert f"OMMX_LOCAL_REGISTRY_ROOT={mounts['registry']}" in " ".join(arguments_of("ENV"))
    assert pod["containers"][0]["env"] == "{{ env }}"


def installed(folder: Path) -> Path:
    """Do what the Dockerfile does before it copies the flows, in a bare virtual environment."""
    (folder / "opt").mkdir()
    for copied in arguments_of("COPY"):
        *sources, target = copied.split()
        for source in sources:
            path = folder / "opt" / target
            is_folder = (ROOT / source).is_dir()
            (shutil.copytree if is_folder else shutil.copy)(ROOT / source, path)
    (command,) = [x for x in arguments_of("RUN") if x.startswith("pip install")]
    venv.create(folder / "venv", with_pip=True)
    done = subprocess.run(
        f"{folder}/venv/bin/{command}",
        shell=True,
        cwd=folder / "opt",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "venv/bin"


NIGHT = """
import nightly
nightly.nightly(nightly.Night(sources=[{source!r}], experiment={name!r}, options={options!r}))
"""


@pytest.mark.full
@pytest.mark.usefixtures("no_credentials")
def test_its_commands_make_an_environment_whose_pods_know_the_nights_of_each_other(
    server, registry, tmp_path
):
    bin_folder = installed(tmp_path)
    worker, *arguments = json.loads(arguments_of("CMD")[0])
    subprocess.run([bin_folder / worker, *arguments, "--help"], check=True, capture_output=True)
    plain = {key: x for key, x in os.environ.items() if not key.startswith(("PREFECT_", "PYTHON"))}
    source = str(ROOT / "tests/data/instances/afiro.mps")
    name = f"{registry.host}/acme/nightly"
    worse = {"highs": {"presolve": "off", "simplex_iteration_limit": 0}}

    def pod(number: int, options: dict) -> tuple[int, str]:
        """Run a night as a pod does, whose Local Registry is empty and goes with it."""
        environment = {
            **plain,
            "PREFECT_API_URL": server,
            "PREFECT_HOME": str(tmp_path / f"home{number}"),
            "OMMX_LOCAL_REGISTRY_ROOT": str(tmp_path / f"pod{number}"),
            "PREFECT_INTEGRATIONS_OMMX_STAGE": f"oci://{registry.host}/acme/shards",
        }
        code = NIGHT.format(source=source, name=name, options=options)
        command = [bin_folder / "python", "-c", code]
        folder = tmp_path / "opt/flows"
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        return done.returncode, done.stderr

    ended, said = pod(1, {})
    assert ended == 0, said[-3000:]
    ended, said = pod(2, worse)
    assert ended != 0
    assert "1 worse than the nights before: afiro" in said
    ended, said = pod(3, {})
    assert ended == 0, said[-3000:]
