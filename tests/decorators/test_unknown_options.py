"""Options that nobody knows, and names in the place of functions: one clear TypeError each."""

from __future__ import annotations

import pytest

from ommx_prefect import flow, task


def nothing():
    return None


@pytest.mark.parametrize(
    ("decorate", "said"),
    [
        (lambda: flow(alias="latest"), "flow has no option alias=. Did you mean aliases=?"),
        (lambda: flow(nothing, experimnt="x"), "Did you mean experiment=?"),
        (lambda: flow(zzz=1), "flow has no option zzz="),
        (lambda: task(retry=2), "Did you mean retries=?"),
        (lambda: task(nothing, log_input=False), "Did you mean log_inputs=?"),
        (lambda: flow("nightly"), "write @flow(name='nightly'), or experiment='nightly'"),
        (lambda: task("solve"), "write @task(name='solve')"),
    ],
)
def test_what_nobody_knows_is_refused_with_what_may_be_meant(decorate, said):
    with pytest.raises(TypeError) as refused:
        decorate()
    assert said in str(refused.value)


def test_every_option_of_prefect_is_taken():
    made = flow(nothing, name="n", retries=1, log_prints=True, persist_result=False)
    assert (made.name, made.retries) == ("n", 1)
    assert task(nothing, name="t", tags=["a"], task_run_name="x", retries=2).retries == 2
