"""In which forms a secret is found, what is none, and that the search is linear."""

from __future__ import annotations

import base64
import json
import time
import urllib.parse

import numpy as np
import pytest
from pydantic import Secret, SecretBytes, SecretStr

from ommx_prefect._values.secret_names import SECRET_NAME, is_secret_name
from ommx_prefect._values.secrets import REDACTED, Redactor

TEXT = 'hunter2/long+key é"x'
FORMS = {
    "as it is": TEXT,
    "repr": repr(TEXT),
    "JSON": json.dumps(TEXT),
    "JSON of UTF-8": json.dumps(TEXT, ensure_ascii=False),
    "quoted in a path": urllib.parse.quote(TEXT),
    "quoted": urllib.parse.quote(TEXT, safe=""),
    "quoted in a query": urllib.parse.quote_plus(TEXT),
    "base64": base64.b64encode(TEXT.encode()).decode(),
    "base64 of a URL": base64.urlsafe_b64encode(TEXT.encode()).decode(),
    "basic": base64.b64encode(f"user:{TEXT}".encode()).decode(),
    "base64 behind two bytes": base64.b64encode(f"us{TEXT}".encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_secret_is_cut_out_in_its_usual_forms(form):
    redact = Redactor({"password": TEXT})
    shown = redact.text(f"before {form} after")
    assert REDACTED in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert "long" not in shown
    assert redact.count == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be", "utf-32", "utf-32-be"])
def test_a_secret_is_found_in_bytes(encoding, tmp_path):
    redact = Redactor({"password": TEXT})
    data = f"some {TEXT} text".encode(encoding)
    assert redact.shows(data)
    assert not redact.shows(f"some {TEXT[1:]} text".encode(encoding))
    # In a file also where it lies across what is read at once.
    path = tmp_path / "file"
    for before in (0, 2**20 - 7, 3 * 2**20 - 1):
        path.write_bytes(b"-" * before + data + b"-" * 100)
        assert redact.shows_in_file(path)
    path.write_bytes(b"-" * 2**21)
    assert not redact.shows_in_file(path)


def test_a_secret_is_found_in_an_array_of_text():
    redact = Redactor({"password": "correct-horse"})
    assert redact.shows(np.array(["a", "correct-horse"]).tobytes())
    assert redact.shows(np.array([b"a", b"correct-horse"]).tobytes())


KEY = bytes([0x89, 0xFE, 0x01, 0xC3, 0x28, 0xFF, 0xC3, 0xA9]) + b"\x80'tail\"of key\r\n-"
IN_TEXTS = {
    "repr": repr(KEY),
    "base64": base64.b64encode(KEY).decode(),
    "base64 of a URL": base64.urlsafe_b64encode(KEY).decode(),
    "basic": base64.b64encode(b"user:" + KEY).decode(),
    "hexadecimal": KEY.hex(),
    "hexadecimal in capitals": KEY.hex().upper(),
    "quoted in a query": urllib.parse.quote_plus(KEY),
    "latin-1": KEY.decode("latin-1"),
    "replaced": KEY.decode(errors="replace"),
    "as of a file's name": KEY.decode(errors="surrogateescape"),
}


@pytest.mark.parametrize("argument", [{"password": KEY}, {"x": SecretBytes(KEY)}])
@pytest.mark.parametrize("form", IN_TEXTS.values(), ids=IN_TEXTS)
def test_a_secret_of_bytes_that_are_no_text_is_cut_out_of_texts(form, argument):
    redact = Redactor(argument)
    assert REDACTED in redact.text(f"before {form} after")
    data = json.dumps({"sent": form}).encode()
    assert redact.may_show(data)
    assert REDACTED in redact.json(json.loads(data))["sent"]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_secret_of_bytes_that_are_no_text_is_found_in_bytes(kind):
    redact = Redactor({"password": kind(KEY)})
    assert redact.shows(b"before" + KEY + b"after")
    assert redact.shows(np.frombuffer(KEY, np.uint8).tobytes())
    assert not redact.shows(b"before" + KEY[1:] + b"after")
    # As any other secret: what is short is not searched elsewhere.
    assert not Redactor({"password": kind(KEY[:7])}).texts


def test_a_text_in_json_is_found_however_often_it_is_escaped():
    secret = 'line one\nline "two"'
    redact = Redactor({"password": secret})
    for shown in (repr(secret), json.dumps({"p": secret}), repr({"p": secret})):
        data = json.dumps([shown]).encode()
        assert redact.may_show(data)
        assert "line" not in redact.text(shown)


def test_a_secret_that_was_put_on_one_line_is_found():
    assert Redactor({"password": "two  blanks\nin it\n"}).text("at two blanks in it") == (
        f"at {REDACTED}"
    )


@pytest.mark.parametrize(
    ("argument", "secret"),
    [
        ({"headers": {"Authorization": "Bearer abcdefghij"}}, "abcdefghij"),
        ({"headers": {"authorization": "token abcdefghij"}}, "abcdefghij"),
        ({"Authorization": "Basic " + base64.b64encode(b"u:abcdefghij").decode()}, "abcdefghij"),
        ({"url": "postgres://user:abcdefghij@host/db"}, "abcdefghij"),
        ({"url": "https://user:abc%40efghij@host/db"}, "abc@efghij"),
        ({"url": "https://user:abc%40efghij@host/db"}, "abc%40efghij"),
        ({"dsn": "host=db password=abcdefghij user=me"}, "abcdefghij"),
        ({"connection_string": "Endpoint=sb://x;AccountKey=abcdefghij==;Name=y"}, "abcdefghij=="),
        ({"cookie": "theme=dark; sid=abcdefghij"}, "abcdefghij"),
        ({"webhook_url": "https://example.org/hooks?sig=abcdefghij"}, "abcdefghij"),
        ({"ssh_key": "-----BEGIN A-----\nabcdefghij\nklmnopqrst\n-----END A-----"}, "klmnopqrst"),
        ({"url": "https://host/x?sv=1&sig=abc%2Fdefghij&se=2"}, "abc%2Fdefghij"),
        ({"url": "https://host/x?sv=1&sig=abc%2Fdefghij&se=2"}, "abc/defghij"),
        ({"url": "https://host/x?page=1&access_token=abcdefghij"}, "abcdefghij"),
        ({"ssh_key": r"-----BEGIN A-----\nabcdefghij\nklmnopqrst\n-----END A-----"}, "klmnopqrst"),
        ({"credentials": json.dumps({"private_key": "a\nklmnopqrst\nb"})}, "klmnopqrst"),
        ({"dsn": "host=db password='abcdefghij' user=me"}, "abcdefghij"),
        ({"headers": {"X-API-Key": "abcdefghij"}}, "abcdefghij"),
        ({"auth": ("username1", "abcdefghij")}, "abcdefghij"),
        ({"session": "abcdefghij"}, "abcdefghij"),
        ({"x": SecretStr("abcdefghij")}, "abcdefghij"),
    ],
)
def test_what_is_secret_in_a_text_is_one_by_itself(argument, secret):
    assert secret in Redactor({"x": argument}).texts
    assert REDACTED in Redactor(argument).text(f"it was {secret}")


NAMES = """
    cookie cookies session session_id jwt otp sas dsn connection_string connectionString AccountKey
    webhook_url webhookUrl pw db_pw WLSSecret sas_token conn_str passcode storage_key csrf
    X-API-Key api-key private-key Proxy-Authorization connection-string SharedAccessSignature
    PHPSESSID JSESSIONID csrftoken master_key
"""


@pytest.mark.parametrize("name", NAMES.split())
def test_a_name_like_a_credential_is_known(name):
    assert is_secret_name(name)


def test_a_name_that_only_sounds_alike_is_none():
    names = ["sessions", "n_sessions", "powers", "gasoline", "sasha", "cookiecutter", "key", "dsnx"]
    assert not any(map(is_secret_name, names))


def test_numbers_are_secret_only_where_their_type_says_so():
    named = Redactor({"max_tokens": 128_000, "password": 12345678, "tokens": [123456789]})
    output = {"used": 128_000, "n": [12345678, 123456789], "text": "128000 12345678"}
    assert named.json(output) == output
    sure = Redactor({"pin": Secret[int](12345678)})
    shown = {"used": 128_000, "n": [REDACTED, 123456789], "text": f"128000 {REDACTED}"}
    assert sure.json(output) == shown
    assert sure.count == 2


def test_what_is_short_is_hidden_where_it_stands_and_nowhere_else():
    redact = Redactor({"auth": ("user", "hunter2"), "password": "user"})
    output = {"user": "hunter2", "users": ["user"], "password": "user"}
    assert redact.json(output) == {"user": "hunter2", "users": ["user"], "password": REDACTED}
    assert redact.text("the user says hunter2") == "the user says hunter2"


def test_many_texts_under_a_name_are_data_and_the_record_says_so():
    redact = Redactor()
    problems = redact.learn({"tokens": [f"word-number-{n}" for n in range(500)], "api_key": TEXT})
    assert redact.texts == {TEXT}
    assert "names like credentials" in str(problems["tokens"])


def test_a_url_shows_no_password_even_where_nobody_knew_it():
    redact = Redactor()
    text = "could not reach postgres://user:geheim@host/db and http://host:80/a@b"
    shown = f"could not reach postgres://user:{REDACTED}@host/db and http://host:80/a@b"
    assert redact.text(text) == shown
    assert redact.text(shown) == shown
    assert redact.count == 1


LETTERS = 32_000
TEXTS = [
    "a",
    "://",
    "://a:",
    "a=b;",
    "=;",
    "\n",
    "_",
    "token_",
    "-----",
    "a1B",
    "Bearer ",
    "é",
    "\ud800",
]


@pytest.mark.parametrize("piece", TEXTS)
def test_the_search_is_linear(piece):
    text = piece * (LETTERS // len(piece))
    began = time.process_time()
    Redactor({"password": text, "url": text, text: text}).text(text)
    SECRET_NAME.search(text)
    assert time.process_time() - began < 2


def test_large_payloads_cost_little():
    redact = Redactor({"password": "correct-horse-battery", "api_key": "k-1234567890"})
    data = np.random.default_rng(0).random(5_000_000).tobytes()  # 40 MB
    began = time.process_time()
    assert not redact.shows(data)
    assert time.process_time() - began < 2
