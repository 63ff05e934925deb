"""Secrets among the arguments of flows and tasks are nowhere in the artifact."""

from __future__ import annotations

import dataclasses
import enum
import itertools
import json
import uuid
from decimal import Decimal
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
import pytest
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from pydantic import BaseModel, PrivateAttr, SecretBytes, SecretStr
from pydantic import Secret as AnySecret

from ommx_prefect import exceptions, flow, task
from ommx_prefect._values.secrets import Redactor, is_secret_name
from tests.support.reading import Sealed, as_rendered, run_flow, secrets_in, shown_of

pytestmark = pytest.mark.usefixtures("server")


def test_secrets_are_nowhere_in_the_artifact_nor_in_the_ui(tmp_path):
    secrets = ["hunter2-by-name", "hunter2-by-type", "hunter2-in-block", "hunter2-of-flow"]
    Secret(value=secrets[2]).save("test-secret", overwrite=True)

    @task(store_trace=True)
    def uses(api_key, hidden: SecretStr, block, plain):
        raise ValueError(f"refused {api_key} {hidden.get_secret_value()} {block.get()}")

    @task
    def returns(dbPassword):
        return {"echo": dbPassword}

    @flow(experiment="ghcr.io/acme/secret:1")
    def one(access_token):
        returns(secrets[0])
        uses(secrets[0], SecretStr(secrets[1]), Secret.load("test-secret"), f"say {secrets[0]}x")

    sealed = run_flow(one, secrets[3])
    image = sealed.experiment.artifact.image_name
    assert sealed.statuses == ["finished", "failed"]
    assert "**redacted**" in sealed.runs[1].lifecycle_reason
    assert "plain" in sealed.experiment.run_parameters_df().columns
    assert secrets_in(image, tmp_path, secrets) == []
    with get_client(sync_client=True) as client:
        shown = [
            as_rendered(str(a.data)) + str(a.data)
            for a in client.read_artifacts(limit=200, sort="CREATED_DESC")
        ]
    assert not any(secret in str(shown) for secret in secrets)


@pytest.mark.parametrize("runner", [ThreadPoolTaskRunner, ProcessPoolTaskRunner])
def test_a_secret_of_the_flow_is_none_less_under_a_tasks_other_name(runner, tmp_path):
    @task(task_run_name="get-{x}")
    def innocent(x):
        return f"say {x}"

    @task
    def outer(token):
        return innocent(token)

    @flow(task_runner=runner(max_workers=1))
    def one(api_key):
        return innocent.submit(api_key).result(), outer("hunter2-of-task")

    sealed = run_flow(one, "hunter2-of-flow")
    assert sealed.state.result() == ("say hunter2-of-flow", "say hunter2-of-task")
    assert sealed.column("x") == ["**redacted**", None, "**redacted**"]
    assert [run.get_json("output") for run in sealed.runs] == ["say **redacted**"] * 3
    image = sealed.experiment.artifact.image_name
    assert secrets_in(image, tmp_path, ["hunter2-of-flow", "hunter2-of-task"]) == []


def test_secrets_of_many_lines_in_containers_and_keywords_are_cut_out_too(tmp_path):
    key = "-----BEGIN KEY-----\nAAAAline\nBBBBline\n-----END KEY-----"
    secrets = ["AAAAline", "nested-secret", "keyword-secret", "long-secret-" + "z" * 700]

    @task
    def leaks(private_key, token, config, **kwargs):
        raise ValueError(f"{private_key} {config['password']} {kwargs['password']} {token}")

    @flow
    def one():
        leaks(key, secrets[3], {"password": secrets[1]}, password=secrets[2], return_state=True)
        return 1

    sealed = run_flow(one)
    shown = [*secrets[:3], secrets[3][:40]]
    assert secrets_in(sealed.experiment.artifact.image_name, tmp_path, shown) == []


TEXT = "hunter2-held"
NUMBER = 87654321


class Login(BaseModel):
    key: SecretStr
    _session_token: str = PrivateAttr(TEXT)


@dataclasses.dataclass(frozen=True)
class Client:
    key: Any


@dataclasses.dataclass
class Named:
    db_password: str


class Row(NamedTuple):
    user: str
    password: str


class Key(enum.Enum):
    LIVE = TEXT


# An argument that holds TEXT or NUMBER as a secret.
HOLDERS = {
    "model": Login(key=SecretStr(TEXT)),
    "private field of a model": Login(key=SecretStr("other")),
    "dataclass": Client(SecretStr(TEXT)),
    "name of a field": Named(TEXT),
    "named tuple": Row("admin", TEXT),
    "set": frozenset([SecretStr(TEXT)]),
    "bytes": [SecretBytes(TEXT.encode())],
    "secret of a dict": AnySecret[dict]({"user": "admin", "word": TEXT}),
    "dict under a name": {"credentials": {"user": "admin", "word": TEXT}},
    "bytearray": {"password": bytearray(TEXT.encode())},
    "enum": {"password": Key.LIVE},
    "path": {"access_token": PurePath(TEXT)},
    "secret number": AnySecret[int](NUMBER),
    "secret number of numpy": AnySecret[Any](np.int64(NUMBER)),
    "secret decimal": AnySecret[Any](Decimal(NUMBER)),
    "deep": [{"a": [{"b": ({"c": [Client(Login(key=SecretStr(TEXT)))]},)}]}],
    "beside a matrix": {"m": [[0.5] * 1000] * 1000, "db": {"deep": {"password": TEXT}}},
}


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
def test_a_secret_is_found_wherever_an_argument_holds_it(holder):
    shown = Redactor({"x": holder}).text(f"login {TEXT} {NUMBER}")
    assert shown.count("**redacted**") == 1


def test_held_secrets_are_nowhere_in_the_artifact(tmp_path):
    @task
    def fails(holder):
        raise ValueError(f"refused {TEXT} {NUMBER}")

    @task
    def returns(holder):
        return {"text": f"say {TEXT}", "number": NUMBER, "list": [1, NUMBER]}

    @flow
    def one():
        for holder in HOLDERS.values():
            fails([holder, AnySecret[int](NUMBER), SecretStr(TEXT)], return_state=True)
        returns([HOLDERS["dataclass"], HOLDERS["secret number"]])
        return 1

    sealed = run_flow(one)
    assert sealed.statuses == ["failed"] * len(HOLDERS) + ["finished"]
    assert sealed.runs[-1].get_json("output") == {
        "text": "say **redacted**",
        "number": "**redacted**",
        "list": [1, "**redacted**"],
    }
    image = sealed.experiment.artifact.image_name
    assert secrets_in(image, tmp_path, [TEXT, str(NUMBER)]) == []


def test_a_secret_is_found_as_repr_and_json_show_it(tmp_path):
    secret = "p\"w'd-of\\x99\n"

    @task
    def fails(password, kind):
        raise [KeyError(password), ValueError(f"{password!r}"), ValueError(json.dumps(password))][
            kind
        ]

    @flow
    def one():
        for kind in range(3):
            fails(secret, kind, return_state=True)
        return 1

    sealed = run_flow(one)
    assert all("**redacted**" in run.lifecycle_reason for run in sealed.runs)
    assert secrets_in(sealed.experiment.artifact.image_name, tmp_path, ["x99"]) == []


def test_a_uuid_is_cut_out_with_and_without_its_hyphens():
    key = uuid.uuid4()
    assert Redactor({"api_key": key}).text(f"{key} {key.hex}") == "**redacted** **redacted**"


NAMES = ["password", "dbpassword", "passwords", "pwds", "apiKey", "HTTPToken", "AUTHTOKEN", "creds",
         "DB_PASS", "CLIENTSECRET", "tokens", "my_api_keys", "smtpPass"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_like_a_credential_is_known(name):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["n_pass", "passes", "secretary", "tokenizer", "author", "keys"])
def test_a_name_that_only_sounds_alike_is_none(name):
    assert not is_secret_name(name)


def test_a_credential_that_is_not_given_hides_nothing():
    """The text "None" is no secret."""

    @task
    def fetches(url="NoneSuch", token=None):
        return b"header: None"

    @task
    def fails(token=None):
        raise TypeError("unsupported operand: NoneType and int")

    @flow
    def one(api_key=None):
        fetches()
        fails(return_state=True)
        return 1

    sealed = run_flow(one)
    assert sealed.column("url")[0] == "NoneSuch"
    assert sealed.runs[0].get_attachment("output") == b"header: None"
    assert sealed.runs[1].lifecycle_reason == "TypeError: unsupported operand: NoneType and int"


def test_counts_under_a_name_like_a_credential_are_not_cut_out_of_figures():
    assert Redactor({"max_tokens": 4096, "auth": True}).text("4096 True") == "4096 True"


def _names_of(sealed: Sealed) -> str:
    image = sealed.experiment.artifact.image_name
    return f"{image} {sealed.ledger} {shown_of(sealed.flow_run_id)}"


@pytest.mark.parametrize(
    "experiment",
    [
        "ghcr.io/acme/named",
        "ghcr.io/acme/named:{flow_run.name}",
        lambda flow_run: f"ghcr.io/acme/named:by-{flow_run.name.replace('*', '')}",
    ],
    ids=["default tag", "template", "callable"],
)
def test_secrets_in_the_names_of_runs_are_cut_out(experiment, tmp_path):
    @task(task_run_name="get-{token}")
    def get(token):
        return 1

    @flow(experiment=experiment, replace=True, flow_run_name="sync-{api_key}")
    def one(api_key):
        return get("hunter2-of-task")

    sealed = run_flow(one, "hunter2-of-flow")
    secrets = ["hunter2-of-task", "hunter2-of-flow"]
    assert sealed.ledger["runs"][0]["task_run"] == "get-**redacted**"
    assert "redacted" in sealed.experiment.artifact.image_name
    assert not any(secret in _names_of(sealed) for secret in secrets)
    assert secrets_in(sealed.experiment.artifact.image_name, tmp_path, secrets) == []


def test_a_template_does_not_reach_into_a_secret():
    @flow(experiment="ghcr.io/acme/x:{config[password]}")
    def one(config):
        return 1

    with pytest.raises(exceptions.InvalidImageNameError, match="is a secret"):
        one({"password": "hunter2"})


class Endless(dict[str, Any]):
    def items(self) -> Any:
        return ((f"key{number}", Endless()) for number in itertools.count())


def test_the_search_for_secrets_ends():
    assert Redactor({"endless": Endless(), "password": TEXT}).texts == {TEXT}
