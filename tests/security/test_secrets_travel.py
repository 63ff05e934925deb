"""What is secret in a flow run is secret in all that it calls, in whatever a task makes of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import prefect
import pytest
from ommx.artifact import Artifact
from ommx.experiment import SealedRun
from prefect.blocks.system import Secret
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from ommx_prefect import current_run, flow, load_experiment, task
from ommx_prefect.solvers import solve
from tests.support.reading import run_flow, shown_of
from tests.support.solving import eight_capacities

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("server")]

TOKEN = "hunter2-of-the-flow"
LOADED = "hunter2-of-a-block"
IN_URL = "hunter2-of-a-url"
ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")


def held_by(image_name: str, tmp_path: Path) -> list[str]:
    """Search every byte of an artifact for the secrets, in each encoding."""
    artifact = Artifact.load(image_name)
    archive = tmp_path / f"{abs(hash(image_name))}.ommx"
    artifact.save(archive)
    blobs = [archive.read_bytes(), *(artifact.get_blob(layer) for layer in artifact.layers)]
    return [
        f"{secret} as {encoding}"
        for secret in (TOKEN, LOADED, IN_URL)
        for encoding in ENCODINGS
        if any(secret.encode(encoding) in blob for blob in blobs)
    ]


@task
def leak(y):
    return {"say": f"it is {y}", "n": 128_000}


@task
def fetch():
    key = Secret.load("test-loaded").get()
    current_run().log_parameter("header", f"Bearer {key}")
    return [key, f"postgres://user:{IN_URL}@host/db"]


@task
def make(kind, y, folder):
    """Return a thing in which the secret stands."""
    if kind == "array":
        return np.array(["a", y])
    if kind == "table":
        return pd.DataFrame({"a": ["x" * 50, y] * 50, "b": range(100)})
    if kind == "label":
        return pd.Series([1.0], name=y)
    if kind == "file":
        path = Path(folder) / "data.bin"
        path.write_bytes(b"\0" * 3_000_000 + y.encode())
        return path
    if kind == "name":
        path = Path(folder) / f"of-{y}.bin"
        path.write_bytes(b"\0" * 100)
        return path
    return json.dumps({"k": y}).encode("utf-16")


@flow
def part(x, folder):
    leak(x)
    for kind in ("array", "table", "label", "file", "name", "bytes"):
        make(kind, x, folder)
    return "part"


@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def part_elsewhere(x):
    leak.submit(f"again {x}").result()


@prefect.flow(task_runner=ThreadPoolTaskRunner(max_workers=1))
def plain_part(x):
    leak.submit(x).result()


@flow(experiment="ghcr.io/acme/inner", flow_run_name="inner-{x}")
def inner(x):
    leak(x)
    return prefect.runtime.flow_run.id


@flow(experiment="ghcr.io/acme/named:{x}")
def named(x):
    return 1


@task
def calls(token):
    """A task hands its own secrets on to the flows that it calls."""
    return plain_part(token)


@flow
def night(api_key, folder, max_tokens=128_000):
    part(api_key, folder)
    part_elsewhere(api_key)
    plain_part(api_key)
    calls(api_key)
    fetch()
    named(api_key, return_state=True)
    return inner(api_key)


def test_a_secret_of_a_flow_is_nowhere_in_what_it_calls(tmp_path):
    Secret(value=LOADED).save("test-loaded", overwrite=True)
    sealed = run_flow(night, TOKEN, str(tmp_path))
    inner_id = str(sealed.state.result())
    experiments = [sealed.experiment, load_experiment(inner_id)]
    for experiment in experiments:
        assert held_by(experiment.artifact.image_name, tmp_path) == []
        assert TOKEN not in experiment.artifact.image_name
    shown = f"{shown_of(sealed.flow_run_id)} {shown_of(inner_id)}"
    assert not any(secret in shown for secret in (TOKEN, LOADED, IN_URL))

    said = [run.get_json("output") for run in sealed.runs if _is_json(run, "say")]
    assert [output["n"] for output in said] == [128_000] * len(said)
    assert {output["say"] for output in said} == {"it is **redacted**", "it is again **redacted**"}
    assert sealed.column("header").count("Bearer **redacted**") == 1
    notes = [note for run in sealed.ledger["runs"] for note in run["notes"]]
    left_out = [note for note in notes if note.endswith("is not recorded: it shows a secret")]
    assert len(left_out) == 5, notes  # array, table, label, file, bytes
    assert any("texts with a secret are replaced" in note for note in notes)
    # The file of which only the name was secret is there, under another name.
    assert b"\0" * 100 in [
        run.get_attachment(x) for run in sealed.runs for x in run.attachment_names
    ]


def _is_json(run: SealedRun, word: str) -> bool:
    return "output" in run.attachment_names and word in str(run.get_attachment("output"))


@pytest.mark.parametrize(
    ("adapter", "options"),
    [
        ("highs", {"solution_file": TOKEN}),
        ("scip", {"visual/vbcfilename": f"of-{TOKEN}"}),
        ("highs", {"presolve": TOKEN}),  # which HiGHS refuses, with an error that shows it
        ("highs", {TOKEN: "an option that there is not"}),
    ],
    ids=["highs", "scip", "refused", "unknown"],
)
def test_a_secret_in_the_options_of_a_solver_is_nowhere(
    adapter, options, tmp_path, caplog, monkeypatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")  # solvers write files of these names

    @flow
    def night(api_key):
        assert api_key == TOKEN
        solve(adapter, eight_capacities(), options=options)

    sealed = run_flow(night, TOKEN)
    (run,) = sealed.runs
    options_said = [solve.adapter_options for solve in run.solves]
    assert "**redacted**" in f"{run.lifecycle_reason} {options_said}"  # there it stood
    assert held_by(sealed.experiment.artifact.image_name, tmp_path) == []
    assert TOKEN not in shown_of(sealed.flow_run_id)
    assert TOKEN not in caplog.text
