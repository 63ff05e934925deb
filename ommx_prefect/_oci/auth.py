"""Authenticate to an OCI registry: basic, or a bearer token for each scope.

The protocol is https://distribution.github.io/distribution/spec/auth/token/. Credentials go to
the registry itself and to the token server that it names, never to where either redirects.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import SecretStr

from ommx_prefect._oci.addresses import (
    MOST_REDIRECTS,
    AddressError,
    address_in,
    origin_of,
    redirected,
)
from ommx_prefect._oci.answers import AnswerError, discard, parsed, read_at_most
from ommx_prefect._oci.challenge import Challenge, challenge_of, scope_of
from ommx_prefect._oci.credentials import Credentials
from ommx_prefect.exceptions import RegistryAuthError, RegistryError, RegistryUnavailableError

# The spec's lifetime of a token that does not tell its own, the most that is believed, and how
# long before its end a token is renewed.
TOKEN_SECONDS = 60.0
MOST_TOKEN_SECONDS = 86_400.0
RENEW_SECONDS = 10
CLIENT_ID = "ommx-prefect"
PLAIN = {"Accept-Encoding": "identity"}
MOST_TOKEN_BYTES = 1024 * 1024
# What a header can hold of a token (RFC 6750 allows less).
TOKEN = re.compile(r"[!-~]{1,65536}")


@dataclass(frozen=True)
class Token:
    """A bearer token and until when it is used, in seconds of `time.monotonic`."""

    value: SecretStr
    until: float


class RegistryAuth:
    """Answers one registry's challenges for one repository; used by many threads at once."""

    def __init__(self, registry: str, repository: str, credentials: Credentials | None) -> None:
        self._registry, self._repository = registry, repository
        self._credentials = credentials
        self._basic = False
        self._tokens: dict[str, Token] = {}
        self._lock = threading.Lock()

    def send(self, client: httpx.Client, request: httpx.Request) -> httpx.Response:
        """Send a request to the registry; if it asks for authentication, answer and send it again.

        The body of the response is left to be read.

        Raises:
            RegistryError: The registry or its token server cannot be answered.
        """
        scope = scope_of(request.method, self._repository, request.url.params.get("from"))
        known = self._known_header(scope)
        if known:
            request.headers["Authorization"] = known
        response = client.send(request, stream=True)
        if response.status_code != 401:
            return response
        discard(response)
        challenge = self._challenge(response)
        if challenge.scheme == "basic":
            request.headers["Authorization"] = self._basic_again(known)
        else:
            value = self._fetch_token(client, response.url, challenge, scope)
            request.headers["Authorization"] = f"Bearer {value}"
        return client.send(request, stream=True)

    def _known_header(self, scope: str) -> str | None:
        if self._basic and self._credentials:
            return self._credentials.basic
        with self._lock:
            token = self._tokens.get(scope)
        if token is None or token.until < time.monotonic():
            return None
        return f"Bearer {token.value.get_secret_value()}"

    def _challenge(self, response: httpx.Response) -> Challenge:
        headers = response.headers.get_list("WWW-Authenticate")
        found = [challenge_of(header) for header in headers]
        for challenge in found:
            if challenge.scheme in ("basic", "bearer"):
                return challenge
        raise self._refused("it asks for a kind of authentication that is not known here")

    def _basic_again(self, sent: str | None) -> str:
        if self._credentials is None:
            raise self._refused("it wants a user and a password, and none was found")
        if sent or self._credentials.is_identity_token:
            raise self._refused("it does not take the credentials that were found")
        self._basic = True
        return self._credentials.basic

    # ------------------------------------------------------------ the token server

    def _fetch_token(
        self, client: httpx.Client, asked_by: httpx.URL, challenge: Challenge, scope: str
    ) -> str:
        response = self._ask_token_server(
            client, asked_by, challenge, self._scopes(challenge, scope)
        )
        try:
            document = parsed(read_at_most(response, MOST_TOKEN_BYTES))
            token = _token_in(document)
        except (AnswerError, ValueError):
            raise self._refused("its token server answers without a token") from None
        finally:
            response.close()
        with self._lock:
            self._tokens[scope] = token
        return token.value.get_secret_value()

    def _scopes(self, challenge: Challenge, scope: str) -> list[str]:
        """Return the token scopes to ask for: those of the challenge, for these repositories only.

        A token goes to the registry that asked; it is to open nothing else of the token server's.
        """
        own, *mounted = scope.split()  # challenges forget where a blob is mounted from
        said = [x for x in challenge.scope.split() if _subject(x) == _subject(own)]
        return list(dict.fromkeys([*(said or [own]), *mounted]))

    def _ask_token_server(
        self, client: httpx.Client, asked_by: httpx.URL, challenge: Challenge, scopes: list[str]
    ) -> httpx.Response:
        url = realm = self._realm(asked_by, challenge.realm)
        for _ in range(MOST_REDIRECTS + 1):
            request = self._token_request(url, challenge.service, scopes)
            response = client.send(request, stream=True)
            if not response.has_redirect_location:
                return self._checked(response)
            discard(response)
            url = self._token_redirect(request, response)
            if origin_of(url) != origin_of(realm):
                raise self._refused("its token server redirects to another host")
        raise self._refused(f"its token server redirects more than {MOST_REDIRECTS} times")

    def _realm(self, asked_by: httpx.URL, realm: str) -> httpx.URL:
        try:
            if not realm.startswith(("https://", "http://")):
                raise AddressError("it names no token server")
            return address_in(asked_by, realm)
        except AddressError as error:
            raise self._refused(f"its token server is not asked: {error}") from None

    def _token_redirect(self, request: httpx.Request, response: httpx.Response) -> httpx.URL:
        try:
            return redirected(request, response)
        except AddressError as error:
            raise self._refused(f"its token server is not followed: {error}") from None

    def _token_request(self, url: httpx.URL, service: str, scopes: list[str]) -> httpx.Request:
        found = self._credentials
        if found and found.is_identity_token:
            secret = found.password.get_secret_value()
            grant = {
                "grant_type": "refresh_token",
                "client_id": CLIENT_ID,
                "refresh_token": secret,
                "service": service,
                "scope": " ".join(scopes),
            }
            return httpx.Request("POST", url, data=grant, headers=PLAIN)
        headers = {**PLAIN, "Authorization": found.basic} if found else PLAIN
        query = {"service": service, "scope": scopes}  # a parameter for each scope
        return httpx.Request("GET", url.copy_merge_params(query), headers=headers)

    def _checked(self, response: httpx.Response) -> httpx.Response:
        status = response.status_code
        if status == 200:
            return response
        discard(response)
        if status == 429 or status >= 500:
            reason = f"its token server answers {status}"
            raise RegistryUnavailableError(self._registry, self._repository, reason)
        raise self._refused(f"its token server answers {status}")

    def _refused(self, reason: str) -> RegistryError:
        return RegistryAuthError(self._registry, self._repository, reason)


def _token_in(document: Mapping[str, Any]) -> Token:
    """Return the token of a token server's answer; ValueError where there is none."""
    value = document.get("token") or document.get("access_token")
    if not isinstance(value, str) or not TOKEN.fullmatch(value):
        raise ValueError("no token")
    seconds = document.get("expires_in") or TOKEN_SECONDS
    if not isinstance(seconds, (int, float)) or not 0 <= seconds <= MOST_TOKEN_SECONDS:
        seconds = TOKEN_SECONDS  # no lifetime: the spec's
    return Token(SecretStr(value), time.monotonic() + seconds - RENEW_SECONDS)


def _subject(scope: str) -> str:
    """Return what a scope is about, `repository:<path>`, without its actions."""
    return scope.rpartition(":")[0]
