"""Which codec takes a value: the user's before ours, and one that raises skips its value only."""

import threading

import ommx
import pydantic
import pytest

from ommx_prefect import codecs
from ommx_prefect.codecs import (
    REDACTED,
    JsonCodec,
    register_codec,
    registry,
)
from tests.support.codec_values import SECRET, Point, committed, json_of
from tests.support.models import knapsack


@pytest.fixture
def own_registry(monkeypatch):
    """Forget at the end what a test registers."""
    monkeypatch.setattr(registry, "_entries", registry.entries)


@pytest.mark.usefixtures("own_registry")
def test_a_codec_for_everything_does_not_get_secrets():
    register_codec(Shout, accepts=lambda value: True)
    assert json_of(pydantic.SecretStr(SECRET)) == REDACTED


class Shout:
    media_type = "application/vnd.test.shout"

    @staticmethod
    def encode(value):
        return str(value).upper().encode()

    @staticmethod
    def decode(data):
        return data.decode()


class Broken(Shout):
    @staticmethod
    def encode(value):
        raise ValueError("no ink left")


class NoBytes(Shout):
    @staticmethod
    def encode(value):
        return "text"


@pytest.mark.usefixtures("own_registry")
def test_the_codec_registered_last_wins():
    assert registry.find("a").codec is JsonCodec
    assert register_codec(Broken, accepts=str) is Broken
    register_codec(accepts=(str, int))(Shout)
    assert registry.find("a").codec is Shout
    sealed, _ = committed({"a": object(), "b": "loud"})
    assert sealed.get_with_codec(Shout, "v.b") == "LOUD"


@pytest.mark.usefixtures("own_registry")
def test_a_user_codec_comes_before_ommx():
    register_codec(Shout, accepts=ommx.Instance)
    sealed, _ = committed(knapsack())
    assert sealed.attachment_media_type("v") == Shout.media_type


@pytest.mark.parametrize(
    ("codec", "reason"),
    [
        (Broken, "raised ValueError: no ink left"),
        (NoBytes, "raised TypeError: encode returned str"),
    ],
)
@pytest.mark.usefixtures("own_registry")
def test_a_codec_that_raises_skips_its_value_only(codec, reason):
    register_codec(codec, accepts=Point)
    sealed, logged = committed([Point(1), 2])
    assert logged.names == ("v.1",)
    assert sealed.get_json("v.1") == 2
    assert reason in logged.skipped[0].reason
    assert logged.skipped[0].name == "v.0"


@pytest.mark.usefixtures("own_registry")
def test_a_predicate_that_raises_takes_nothing():
    register_codec(Shout, accepts=lambda value: value.volume > 3)
    assert json_of({"a": 1}) == {"a": 1}


@pytest.mark.parametrize(
    ("codec", "accepts", "message"),
    [
        (Shout(), str, "needs a class"),
        (object, str, "needs a class"),
        (type("NoType", (Shout,), {"media_type": None}), str, "media_type"),
        (type("BadType", (Shout,), {"media_type": "text/plain; a=b"}), str, "media_type"),
        (Shout, "str", "accepts must be"),
        (Shout, (), "accepts must be"),
    ],
)
def test_a_wrong_registration_is_refused(codec, accepts, message):
    before = registry.entries
    with pytest.raises(TypeError, match=message):
        register_codec(codec, accepts=accepts)
    assert registry.entries == before


@pytest.mark.usefixtures("own_registry")
def test_registering_from_many_threads_loses_nothing():
    before = len(registry.entries)

    def register():
        for _ in range(100):
            register_codec(Shout, accepts=Point)

    threads = [threading.Thread(target=register) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(registry.entries) == before + 800


def test_every_built_in_codec_is_listed_with_its_media_type():
    listed = {entry.codec: entry.media_type for entry in registry.entries if entry.codec}
    built_in = [getattr(codecs, n) for n in codecs.__all__ if n.endswith("Codec")]
    assert listed == {codec: codec.media_type for codec in built_in}
    assert len({*listed.values()}) == len(built_in)
