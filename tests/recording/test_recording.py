"""What a task logs is what the artifact holds."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest
from ommx.testing import DataType, SingleFeasibleLPGenerator
from ommx_highs_adapter import OMMXHighsAdapter

from ommx_prefect import current_experiment, current_run, exceptions, flow, task
from tests.support.models import knapsack
from tests.support.reading import run_flow

pytestmark = pytest.mark.usefixtures("server")


class UpperCodec:
    media_type = "text/x-upper"

    @staticmethod
    def encode(value):
        return value.upper().encode()

    @staticmethod
    def decode(data):
        return data.decode().lower()


def test_every_logging_method_of_a_run_reads_back_bit_for_bit(tmp_path):
    instance = knapsack()
    generator = SingleFeasibleLPGenerator(3, DataType.INT)
    parametric = instance.as_parametric_instance()
    file = tmp_path / "notes.txt"
    file.write_text("from a file")
    expected = {}

    @task(store_trace=True)
    def everything():
        run = current_run()
        run.log_parameter("flag", True)
        run.log_parameter("count", 3)
        run.log_parameter("gap", 0.125)
        run.log_parameter("name", "x")
        run.log_json("json", {"a": [1, None]})
        run.log_attachment("bytes", "application/x-bytes", b"\x00\xff" * 100, compression="zstd")
        run.log_file("file", file)
        run.log_instance("instance", instance)
        run.log_parametric_instance("parametric", parametric)
        solution = run.log_solve(OMMXHighsAdapter, instance, store_diagnostics=True, verbose=False)
        run.log_solution("solution", solution)
        samples = instance.evaluate_samples({0: {0: 1.0, 1: 1.0, 2: 0.0}})
        run.log_sample_set("samples", samples)
        run.log_with_codec(UpperCodec, "codec", "hello", compression="zstd")
        with run.open_solve(OMMXHighsAdapter, instance) as solve:
            solve.log_adapter_option("presolve", "off")
            solve.solver_input.setOptionValue("output_flag", False)
            solve.solver_input.run()
            solve.decode(solve.solver_input)
        expected.update(
            instance=instance.to_v2_bytes(),
            parametric=parametric.to_v2_bytes(),
            solution=solution.to_v2_bytes(),
            samples=samples.to_v2_bytes(),
        )
        assert generator is not None

    @flow
    def one():
        everything()

    sealed = run_flow(one)
    run = sealed.runs[0]
    assert sealed.statuses == ["finished"]
    columns = ("flag", "count", "gap", "name")
    assert [sealed.column(name)[0] for name in columns] == [True, 3, 0.125, "x"]
    assert run.get_json("json") == {"a": [1, None]}
    assert run.get_blob("bytes") == b"\x00\xff" * 100
    assert run.attachment_media_type("bytes") == "application/x-bytes"
    assert run.get_blob("file") == b"from a file"
    assert run.write_attachment("file", tmp_path / "out.txt").read_text() == "from a file"
    assert run.get_with_codec(UpperCodec, "codec") == "hello"
    for name, data in expected.items():
        assert run.get_blob(name) == data
    assert [solve.status for solve in run.solves] == ["finished", "finished"]
    assert run.solves[0].output.objective == 5
    assert run.solves[0].diagnostics
    assert run.solves[1].adapter_options == {"presolve": "off"}
    assert run.trace is not None


def test_finish_called_early_is_honoured_and_the_status_follows_the_task():
    @task
    def early(fail):
        current_run().log_parameter("before", 1)
        current_run().finish()
        if fail:
            raise ValueError("later")
        return 5

    @flow
    def one():
        early(False)
        early(True, return_state=True)
        return 1

    sealed = run_flow(one)
    assert sealed.statuses == ["finished", "failed"]
    assert sealed.column("before") == [1, 1]
    notes = [run["notes"] for run in sealed.ledger["runs"]]
    assert notes[0] == ["output is not recorded: the Run was closed by finish() before"]


def test_inputs_of_every_scalar_type_are_columns_or_say_why_not():
    @task
    def takes(np_int, np_float, np_bool, nothing, huge, text, path, items, long):
        return None

    @flow
    def one():
        takes(
            np.int64(3), np.float32(0.5), np.bool_(True), None, 2**70, "t", Path("/a/b"), [1],
            "x" * 2000,
        )  # fmt: skip

    sealed = run_flow(one)
    columns = ("np_int", "np_float", "np_bool", "nothing", "huge", "text", "path", "items", "long")
    found = [sealed.column(name)[0] for name in columns]
    assert found == [3, 0.5, True, None, None, "t", "/a/b", None, None]
    notes = " ".join(sealed.ledger["runs"][0]["notes"])
    assert "'huge' is not recorded: it is an integer beyond 64 bits" in notes
    assert "'long' is not recorded: it has 2000 characters" in notes


TIMES = {
    "np_ns": (np.datetime64("2026-11-28T09:30", "ns"), "2026-11-28T09:30:00.000000000"),
    "np_day": (np.datetime64("2026-11-28"), "2026-11-28"),
    "date": (datetime.date(2026, 11, 28), "2026-11-28"),
    "np_span": (np.timedelta64(1_500_000_000, "ns"), 1.5),
    "span": (datetime.timedelta(minutes=2), 120.0),
}


def test_dates_are_text_and_durations_are_seconds():
    @task
    def takes(np_ns, np_day, date, np_span, span):
        return None

    @flow
    def one():
        takes(*(value for value, _ in TIMES.values()))

    sealed = run_flow(one)
    assert [sealed.column(name)[0] for name in TIMES] == [wanted for _, wanted in TIMES.values()]


def test_duplicate_attachment_names_are_ommx_errors_and_lose_nothing():
    @task
    def twice():
        current_run().log_json("x", 1)
        current_run().log_json("x", 2)

    @flow
    def one():
        twice(return_state=True)
        return 1

    sealed = run_flow(one)
    assert sealed.statuses == ["failed"]
    assert "already exists" in sealed.runs[0].lifecycle_reason
    assert sealed.runs[0].get_json("x") == 1


def test_threads_of_the_user_get_the_run_from_the_task():
    import threading

    @task
    def threaded():
        run = current_run()
        errors = []

        def work():
            run.log_parameter("from-thread", 1)
            try:
                current_run()
            except exceptions.NoOpenRunError as error:
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return len(errors)

    @flow
    def one():
        return threaded()

    sealed = run_flow(one)
    assert sealed.state.result() == 1
    assert sealed.column("from-thread") == [1]


def test_a_run_knows_its_id():
    @task
    def one_run():
        return current_run().run_id

    @flow
    def one():
        return one_run(), current_experiment().image_name

    assert run_flow(one).state.result()[0] == 0


def test_what_the_function_logs_under_the_name_of_an_argument_wins():
    @task
    def shadowing(x, y):
        current_run().log_parameter("x", "mine")

    @flow
    def one():
        shadowing(1, 2.5)

    sealed = run_flow(one)
    assert [sealed.column(name) for name in ("x", "y")] == [["mine"], [2.5]]
