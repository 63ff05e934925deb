"""A flow's experiment outlives whatever `with_options` replaces."""

from __future__ import annotations

import cloudpickle
import prefect
import pytest

from ommx_prefect import flow, seal_hooks, task
from ommx_prefect._flowrun.settings import SEALING_HOOKS, settings_of
from tests.support.reading import run_flow

pytestmark = pytest.mark.usefixtures("server")

SEEN: list[str] = []


def said(flow, flow_run, state):
    SEEN.append(state.name)


@task
def one():
    return 1


@flow(experiment="ghcr.io/acme/options:{flow_run.name}")
def night():
    return one()


def sealing_lists(made: prefect.Flow) -> set[str]:
    """The hook lists that hold a hook of ours."""
    lists = {name: getattr(made, f"{name}_hooks") for name in SEALING_HOOKS}
    return {name for name, hooks in lists.items() if any(hook is not said for hook in hooks)}


ALL = {name: [said] for name in SEALING_HOOKS}


@pytest.mark.parametrize(
    "replaced", [ALL, {"on_completion": [said]}, {**ALL, "on_running": [said]}]
)
def test_replaced_hooks_run_and_the_flow_run_is_sealed(replaced):
    SEEN.clear()
    sealed = run_flow(night.with_options(**replaced, name="copy"))
    assert sealed.statuses == ["finished"]
    assert sealed.experiment.image_name.startswith("ghcr.io/acme/options:")
    assert SEEN[-1] == "Completed"


def test_copies_of_copies_and_their_pickles_carry_the_seal_in_every_list():
    copy = night.with_options(**ALL).with_options(retries=1).with_options(on_crashed=[said])
    for made in (copy, cloudpickle.loads(cloudpickle.dumps(copy))):
        assert sealing_lists(made) == set(SEALING_HOOKS)
        assert settings_of(made).experiment == "ghcr.io/acme/options:{flow_run.name}"


def test_prefects_own_copy_of_a_flow_is_sealed_by_what_its_function_carries():
    plain = prefect.Flow.with_options(night, **ALL)
    assert sealing_lists(plain) == set()
    assert run_flow(plain).statuses == ["finished"]


def test_seal_hooks_with_one_list_replaced_still_seal():
    @prefect.flow(**seal_hooks())
    def hooked():
        return one()

    assert run_flow(hooked.with_options(on_completion=[said])).statuses == ["finished"]
