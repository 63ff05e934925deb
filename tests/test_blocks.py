"""The OMMX Registry block, as Prefect's own suite wants blocks, and what names mean in it."""

from __future__ import annotations

import socket

import pytest
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from pydantic import SecretStr, ValidationError

from ommx_prefect.blocks import OMMXRegistry


def has_network() -> bool:
    try:
        socket.create_connection(("cdn.sanity.io", 443), timeout=3).close()
    except OSError:
        return False
    return True


class TestStandard(BlockStandardTestSuite):
    @pytest.fixture
    def block(self):
        return OMMXRegistry

    def test_has_a_valid_image(self, block):
        if not has_network():
            pytest.skip("the picture is on Prefect's content server, and there is no network")
        super().test_has_a_valid_image(block)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (None, "ghcr.io/acme/nights"),
        ("mip", "ghcr.io/acme/nights/mip"),
        ("mip/hard:one", "ghcr.io/acme/nights/mip/hard:one"),
        (":{flow_run.name}", "ghcr.io/acme/nights:{flow_run.name}"),
        ("quay.io/acme/mip", "quay.io/acme/mip"),
        ("localhost/mip", "localhost/mip"),
        ("host:5000/mip", "host:5000/mip"),
        ("{flow.name}/mip", "ghcr.io/acme/nights/{flow.name}/mip"),
    ],
)
def test_a_name_without_a_registry_is_put_into_that_of_the_block(given, name):
    block = OMMXRegistry(registry="ghcr.io", repository="acme/nights")
    assert block.image_name(given) == name


def test_without_a_repository_a_flow_must_name_its_experiment():
    block = OMMXRegistry(registry="localhost:5000")
    assert block.image_name("mip:{flow_run.name}") == "localhost:5000/mip:{flow_run.name}"
    for nothing in (None, ":tag"):
        with pytest.raises(ValueError, match="names no repository"):
            block.image_name(nothing)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"registry": "https://ghcr.io"}, "is no registry"),
        ({"registry": "acme"}, "is no registry"),
        ({"registry": "robot:token@ghcr.io"}, "is no registry"),
        ({"registry": "ghcr.io", "repository": "Acme/nights"}, "is no repository"),
        ({"registry": "ghcr.io", "repository": "acme/nights:tag"}, "is no repository"),
        ({"registry": "ghcr.io", "stage": "shards"}, "is no stage"),
        ({"registry": "ghcr.io", "username": "robot"}, "go together"),
        ({"registry": "ghcr.io", "password": "token"}, "go together"),
        ({"registry": "ghcr.io", "retention": 0}, "greater than or equal"),
    ],
)
def test_what_cannot_be_used_is_refused_when_it_is_saved(fields, problem):
    with pytest.raises(ValidationError, match=problem):
        OMMXRegistry(**fields)


def test_the_password_is_never_shown():
    block = OMMXRegistry(registry="ghcr.io", username="robot", password=SecretStr("sesame-9931"))
    assert "sesame-9931" not in f"{block!r} {block} {block.model_dump()}"
