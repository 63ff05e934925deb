"""The files for containers and clusters are whole, as far as they can be read without an engine."""

from __future__ import annotations

import json
import re
from pathlib import Path

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
