"""What cannot be checkpointed, or must not be, is noted, and the task goes on."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import SecretStr

from ommx_prefect import checkpoint, current_run, flow, task
from tests.support.reading import run_flow, secrets_in
from tests.support.small_disk import on_small_disk

server = pytest.mark.usefixtures("server")


@server
def test_after_finish_it_is_a_note_and_the_task_goes_on():
    @task
    def early():
        checkpoint(before=1)
        current_run().finish()
        checkpoint(after=1)
        checkpoint(after=2)
        return 1

    @flow
    def one():
        early()

    sealed = run_flow(one)
    assert sealed.column("before") + sealed.column("after") == [1, None]
    notes = sealed.ledger["runs"][0]["notes"]
    closed = "is not recorded: the Run was closed by finish() before"
    assert notes == [f"a checkpoint {closed}", f"output {closed}"]


@server
def test_what_cannot_be_recorded_is_noted_once_and_the_rest_is():
    class Strange:
        pass

    values = {
        "np_int": np.int64(3), "np_bool": np.bool_(True), "nan": float("nan"), "inf": float("inf"),
        "huge": 2**70, "long": "x" * 2000, "none": None, "odd": Strange(), "prefect.state": "mine",
        "api_key": "hunter2-by-name", "subclass": type("Float", (float,), {})(0.5),
        "": 1, "byte\udcff": 2,
    }  # fmt: skip

    @task
    def careless():
        checkpoint(none="earlier")
        for _ in range(50):
            checkpoint(**values)

    @flow
    def one():
        careless()

    sealed = run_flow(one)
    run = sealed.runs[0]
    columns = ("np_int", "np_bool", "inf", "none", "subclass", "", "byte\\udcff", "prefect.state")
    expected = [3, True, float("inf"), "earlier", 0.5, 1, 2, "Completed"]
    assert [sealed.column(name)[0] for name in columns] == expected
    assert "nan" in sealed.experiment.run_parameters_df().columns
    assert "api_key" not in sealed.experiment.run_parameters_df().columns
    assert run.get_json("huge") == 2**70
    assert run.get_json("long") == "x" * 2000
    notes = sealed.ledger["runs"][0]["notes"]
    about = ("huge", "long", "none", "odd", "prefect.state", "api_key")
    assert [sum(name in note for note in notes) for name in about] == [1] * len(about)
    assert len(notes) == len(about)


@server
def test_secrets_in_checkpoints_are_nowhere_in_the_artifact(tmp_path):
    secrets = ["hunter2-argument", "hunter2-value", "hunter2-nested"]

    @task
    def leaks(password):
        checkpoint(
            text=f"say {password}", listed=[password], hidden=SecretStr(secrets[1]),
            raw=password.encode(), nested={"password": secrets[2], "other": secrets[2]},
        )  # fmt: skip
        raise ValueError(f"{secrets[1]} {secrets[2]}")

    @flow(experiment="ghcr.io/acme/secret-checkpoints:1")
    def one():
        leaks(secrets[0], return_state=True)
        return 1

    sealed = run_flow(one)
    assert sealed.column("text") == ["say **redacted**"]
    assert sealed.runs[0].get_json("listed") == ["**redacted**"]
    assert sealed.runs[0].lifecycle_reason == "ValueError: **redacted** **redacted**"
    assert secrets_in(sealed.experiment.artifact.image_name, tmp_path, secrets) == []


@pytest.mark.server
def test_a_full_disk_warns_and_the_solve_goes_on(tmp_path):
    outcome = on_small_disk(
        tmp_path,
        """
        from ommx_prefect import checkpoint

        @task
        def goes_on():
            checkpoint(found=1)
            fill()
            for i in range(20):
                checkpoint(found=2, incumbent=list(range(10000)))
            free()
            return 5

        @task(on_error="raise")
        def strict():
            fill()
            try:
                checkpoint(found=3, incumbent=list(range(10000)))
            finally:
                free()

        @flow
        def one():
            first = goes_on()
            try:
                strict()
            except exceptions.RecordingError as error:
                return first, "could not write a checkpoint" in str(error)
        """,
    )
    assert outcome["state"] == "Completed"
    assert outcome["result"] == [5, True]
    assert outcome["statuses"] == ["finished", "failed"]
    assert outcome["degraded"].count("could not write a checkpoint") == 2
