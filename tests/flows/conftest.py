"""Where the scripts of `flows/` are run as a newcomer runs them."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="module")
def own_place(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a newcomer: an empty registry, an empty Prefect home, no server."""
    folder = tmp_path_factory.mktemp("newcomer")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "OMMX_"))}
    paths = {name: str(folder / name) for name in ("OMMX_LOCAL_REGISTRY_ROOT", "PREFECT_HOME")}
    return {**kept, **paths}


@pytest.fixture
def own_registry(own_place: dict[str, str], server: str) -> dict[str, str]:
    """The environment of somebody with an empty registry and a server."""
    return {**own_place, "PREFECT_API_URL": server}
