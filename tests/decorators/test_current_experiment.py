"""What a flow logs on its experiment, beside the Runs of its tasks."""

from __future__ import annotations

import pytest

from ommx_prefect import current_experiment, current_run, exceptions, flow, task
from tests.support.reading import run_flow

pytestmark = pytest.mark.usefixtures("server")


@task
def one_task(x=1):
    current_run().log_parameter("x", x)
    return x


def test_current_experiment_logs_on_the_experiment():
    @flow
    def one():
        experiment = current_experiment()
        experiment.log_json("dataset", {"n": 3})
        experiment.log_attachment("raw", "text/plain", b"hello", compression="zstd")
        experiment.set_annotation("com.acme.site", "Kobe")
        with experiment.run() as run:
            run.log_parameter("manual", 1)
        with pytest.raises(exceptions.DuplicateAttachmentError):
            experiment.log_json("dataset", {})
        one_task()
        return experiment.image_name

    sealed = run_flow(one)
    assert sealed.experiment.get_json("dataset") == {"n": 3}
    assert sealed.experiment.get_blob("raw") == b"hello"
    assert sealed.experiment.annotations["com.acme.site"] == "Kobe"
    assert sealed.column("manual") == [1, None]
    assert sealed.state.result() == sealed.experiment.image_name


def test_a_name_is_free_again_where_logging_under_it_has_failed(monkeypatch):
    @flow
    def one():
        with monkeypatch.context() as broken:
            broken.setattr(
                "ommx_prefect._decorators.flow_experiment.store", lambda experiment: 1 / 0
            )
            with pytest.raises(ZeroDivisionError):
                current_experiment().log_json("dataset", {"n": 3})
        current_experiment().log_json("dataset", {"n": 4})
        one_task()

    assert run_flow(one).experiment.get_json("dataset") == {"n": 4}


def test_what_a_retried_flow_logs_again_is_kept_beside_the_latest():
    attempts = []

    @flow(retries=1)
    def one():
        attempts.append(1)
        current_experiment().log_json("config", {"attempt": len(attempts)})
        current_experiment().log_json("same", {"a": 1})
        if len(attempts) == 1:
            raise RuntimeError("again")

    experiment = run_flow(one).experiment
    assert experiment.get_json("config") == {"attempt": 2}
    assert experiment.get_json("config@1") == {"attempt": 1}
    assert "same@1" not in experiment.attachment_names
