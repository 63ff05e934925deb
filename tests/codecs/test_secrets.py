"""What is secret is never stored, by type, by name and by text."""

import base64

import numpy as np
import pandas
import pydantic
import pytest
from prefect.blocks.core import Block
from prefect.blocks.system import Secret as PrefectSecret

from ommx_prefect._values.secrets import Redactor
from ommx_prefect.codecs import REDACTED
from tests.support.codec_values import SECRET, Leaky, Point, committed, json_of, stored_bytes


class Root(pydantic.RootModel[list[pydantic.SecretStr]]):
    pass


class HiddenOnly(pydantic.BaseModel):
    hidden: pydantic.SecretStr = pydantic.Field(pydantic.SecretStr(SECRET), exclude=True)

    @pydantic.computed_field
    @property
    def url(self) -> str:
        return f"postgres://u:{self.hidden.get_secret_value()}@h"


class Database(Block):
    host: str = SECRET
    password: pydantic.SecretStr = pydantic.SecretStr(SECRET)


class HoldsBlock(pydantic.BaseModel):
    database: Database = pydantic.Field(default_factory=Database)


SECRETS = {
    "SecretStr": pydantic.SecretStr(SECRET),
    "SecretBytes": pydantic.SecretBytes(SECRET.encode()),
    "Secret": pydantic.Secret[str](SECRET),
    "prefect Secret": PrefectSecret(value=SECRET),
    "Block": Database(),
    "revealing model": Leaky(),
    "excluded field": HiddenOnly(),
    "model with a Block": HoldsBlock(),
    "root model": Root([pydantic.SecretStr(SECRET)]),
    "dataclass": Point(1, pydantic.SecretStr(SECRET)),
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize(
    "wrap",
    [lambda s: s, lambda s: {"a": [s]}, lambda s: {"a": s, "b": np.ones(1)}],
    ids=["alone", "in JSON", "split"],
)
def test_a_secret_is_never_stored(secret, wrap):
    assert SECRET.encode() not in stored_bytes(wrap(secret))


def test_a_secret_leaves_its_placeholder():
    assert json_of(SECRETS["Block"]) == REDACTED
    assert json_of({"a": SECRETS["SecretStr"]}) == {"a": REDACTED}
    assert json_of(Leaky()) == {"password": REDACTED}


def test_forbidden_texts_are_cut_out_of_json_and_names():
    secret = 'p"é'
    value = {f"k{secret}": [f"url {secret}", 1], "n": 2}
    assert json_of(value, forbidden=[secret]) == {f"k{REDACTED}": [f"url {REDACTED}", 1], "n": 2}
    _, logged = committed({secret: np.ones(1)}, forbidden=[secret, ""])
    assert logged.names == (f"v.{REDACTED}",)


def test_keys_that_redaction_makes_equal_stay_apart():
    value = {"abcd": 1, "efgh": 2}
    found = json_of(value, forbidden=["abcd", "efgh"])
    assert found == {REDACTED: 1, f"{REDACTED}~2": 2}


def test_bytes_that_show_a_forbidden_text_are_skipped():
    _, logged = committed({"a": SECRET.encode(), "b": b"fine"}, forbidden=[SECRET])
    assert logged.names == ("v.b",)
    assert logged.skipped[0].reason == "it shows a secret"


KEY = bytes([0x89, 0xFE, 0x01, 0xC3, 0x28, 0xFF]) * 4


@pytest.mark.parametrize("named", ["password", "x"])
def test_a_key_of_bytes_that_are_no_text_is_stored_in_no_form(named):
    redact = Redactor({named: KEY if named == "password" else pydantic.SecretBytes(KEY)})
    frame = pandas.DataFrame({"a": ["x", "y"], "b": [b"1", KEY]})
    shown = {"key": base64.b64encode(KEY).decode(), "repr": repr(KEY), "hex": KEY.hex()}
    for value in (KEY, np.frombuffer(KEY, np.uint8), frame, [KEY, "x"], shown):
        data = stored_bytes(value, forbidden=redact)
        assert KEY not in data
        assert not any(text.encode() in data for text in shown.values())


def test_what_is_short_is_hidden_by_its_name_in_a_part_as_well():
    redact = Redactor({"password": "hunter2"})
    value = {"password": "hunter2", "db_password": b"hunter2", "user": "hunter2", "x": np.ones(1)}
    sealed, logged = committed(value, forbidden=redact)
    assert logged.names == ("v.password", "v.user", "v.x")
    assert [x.name for x in logged.skipped] == ["v.db_password"]
    assert sealed.get_json("v.password") == REDACTED
    assert sealed.get_json("v.user") == "hunter2"


PREFIX = "as-many-others-begin-so-that-parquet-shortens-it-"
OTHERS = [f"{PREFIX}{number}" for number in range(3_000)]
USED = pandas.Categorical(["x"] * 9, categories=["x", *OTHERS, f"{PREFIX}hidden"])


@pytest.mark.parametrize(
    "table",
    [
        pandas.DataFrame({"a": USED}),
        pandas.Series(USED),
        pandas.DataFrame({"a": range(9)}, index=pandas.CategoricalIndex(USED)),
        pandas.DataFrame({"a": [np.array([*OTHERS, f"{PREFIX}hidden", *OTHERS], dtype=object)]}),
    ],
    ids=["categories", "of a Series", "of an index", "long array"],
)
def test_a_secret_that_parquet_shortens_is_found_in_a_table(table):
    _, logged = committed(table, forbidden=[f"{PREFIX}hidden"])
    assert [x.reason for x in logged.skipped] == ["it shows a secret"]
