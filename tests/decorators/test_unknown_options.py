"""Options that nobody knows, and names in the place of functions: one clear TypeError each."""

from __future__ import annotations

import pickle

import prefect
import pytest

from ommx_prefect import flow, recorded, seal_hooks, task
from ommx_prefect.exceptions import InvalidImageNameError


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
        (
            lambda: task(zzz=1),
            "It has log_inputs=, log_output=, on_error=, store_trace= and those of",
        ),
        (
            lambda: prefect.flow(**seal_hooks(alias="latest")),
            "seal_hooks has no option alias=. Did you mean aliases=? It has experiment=, replace=, "
            "aliases=, push=, stage=, registry=, lineage=; Prefect's go into prefect.flow",
        ),
        (
            lambda: recorded(retries=2)(nothing),
            "recorded has no option retries=. It has log_inputs=, log_output=, on_error=, "
            "store_trace=; Prefect's go into the @prefect.task above it.",
        ),
        (lambda: recorded(nothing, log_input=False), "Did you mean log_inputs=?"),
        (lambda: flow("nightly"), "write @flow(name='nightly'), or experiment='nightly'"),
        (lambda: task("solve"), "write @task(name='solve')"),
    ],
)
def test_what_nobody_knows_is_refused_with_what_may_be_meant(decorate, said):
    with pytest.raises(TypeError) as refused:
        decorate()
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("decorate", "said"),
    [
        (
            lambda: flow(nothing, experiment="ghcr.io/a:b", replace="no"),
            "replace='no' is neither",
        ),
        (lambda: flow(nothing, experiment="ghcr.io/a/b", push="yes"), "push='yes' is neither"),
        (lambda: prefect.flow(**seal_hooks(replace="no")), "replace='no' is neither"),
        (lambda: task(nothing, log_output="no"), "log_output='no' is neither True nor False"),
        (lambda: task(nothing, store_trace=None), "store_trace=None is neither"),
        (lambda: recorded(store_trace="no")(nothing), "store_trace='no' is neither"),
    ],
)
def test_a_text_that_would_count_as_true_is_refused(decorate, said):
    with pytest.raises(TypeError) as refused:
        decorate()
    assert said in str(refused.value)


@pytest.mark.parametrize("alias", ["a b", "ghcr.io/acme/night:latest", "", "{flow_run.name}"])
def test_an_alias_that_is_no_tag_is_refused_at_once_by_its_name(alias):
    with pytest.raises(InvalidImageNameError) as refused:
        flow(nothing, experiment="ghcr.io/acme/night", aliases=["latest", alias])
    assert str(refused.value).startswith(f"aliases={['latest', alias]!r} cannot be used: {alias!r}")
    assert pickle.loads(pickle.dumps(refused.value)).option == "aliases"


def test_a_push_without_a_name_says_what_it_needs():
    with pytest.raises(InvalidImageNameError, match=r"^push=True cannot be used.*experiment="):
        flow(nothing, push=True)


def test_every_option_of_prefect_is_taken():
    made = flow(nothing, name="n", retries=1, log_prints=True, persist_result=False)
    assert (made.name, made.retries) == ("n", 1)
    assert task(nothing, name="t", tags=["a"], task_run_name="x", retries=2).retries == 2
