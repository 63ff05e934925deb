"""What the tests of records that are put together in an OCI registry share."""

from __future__ import annotations

import pytest

from ommx_prefect._stages import oci_gathering, oci_store
from tests.support.oci_night import Night


@pytest.fixture
def few(monkeypatch):
    """Three are enough to be put together."""
    monkeypatch.setattr(oci_gathering, "TOGETHER", 3)
    yield
    oci_store._left_apart.clear()
    oci_store._without_deletion.clear()


@pytest.fixture
def night(place, tmp_path):
    """One flow run of a worker in a registry."""
    return Night(place, tmp_path)
