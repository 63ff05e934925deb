"""What Prefect's API did not answer is asked again: only answers are remembered."""

from __future__ import annotations

import httpx
import prefect
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from ommx_prefect._flowrun import secrets
from ommx_prefect._flowrun.context import _root_in_api
from ommx_prefect._flowrun.secrets import _secrets_in_api

NOBODY = "http://127.0.0.1:9/api"


@pytest.mark.usefixtures("server")
def test_a_blip_of_the_api_is_forgotten_when_it_answers(monkeypatch):
    asked = {}

    def away():
        raise httpx.ConnectError("away")

    @prefect.flow
    def inner(root):
        own = str(prefect.runtime.flow_run.id)
        # Inside of a flow, Prefect hands out the client that the flow has opened.
        monkeypatch.setattr(secrets, "api_client", away)
        with temporary_settings({PREFECT_API_URL: NOBODY}):
            asked["away"] = _root_in_api(own), _secrets_in_api(root)
        monkeypatch.undo()
        asked["there"] = _root_in_api(own), _secrets_in_api(root)
        return own

    @prefect.flow
    def root(password):
        own = str(prefect.runtime.flow_run.id)
        return own, inner(own)

    outer, own = root("sesame-open-wide")
    assert asked["away"] == (own, frozenset())
    assert asked["there"] == (outer, {"sesame-open-wide"})
