"""How a registry is answered when it asks who we are: basic, or a bearer token for each scope.

The protocol is https://distribution.github.io/distribution/spec/auth/token/. Credentials go to
the registry itself and to the token server that it names, never to where it redirects.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from dataclasses import dataclass

import httpx
from pydantic import SecretStr

from ommx_prefect._oci.credentials import Credentials
from ommx_prefect._oci.names import Challenge, api_url, challenge_of, is_local, scope_of
from ommx_prefect.exceptions import RegistryAuthError, RegistryUnavailableError

# The spec's lifetime of a token that does not tell its own, and how long before it is renewed.
TOKEN_SECONDS = 60
RENEW_SECONDS = 10
CLIENT_ID = "ommx-prefect"

Flow = Generator[httpx.Request, httpx.Response, None]


@dataclass(frozen=True)
class Token:
    """A bearer token and until when it is used, in seconds of `time.monotonic`."""

    value: SecretStr
    until: float


class RegistryAuth(httpx.Auth):
    """Answers one registry's challenges for one repository; used by many threads at once."""

    requires_response_body = False

    def __init__(self, registry: str, repository: str, credentials: Credentials | None) -> None:
        self._registry, self._repository = registry, repository
        self._credentials = credentials
        self._origin = _origin(httpx.URL(api_url(registry)))
        self._basic = False
        self._tokens: dict[str, Token] = {}
        self._lock = threading.Lock()

    def auth_flow(self, request: httpx.Request) -> Flow:
        """Send a request with what is known; where the registry asks, answer and send it again."""
        if _origin(request.url) != self._origin:  # where an upload goes on, perhaps in the clear
            yield request
            return
        scope = scope_of(request.method, self._repository, request.url.params.get("from"))
        known = self._known(scope)
        if known:
            request.headers["Authorization"] = known
        response = yield request
        if response.status_code != 401 or _origin(response.url) != self._origin:
            return
        challenge = self._challenge(response)
        if challenge.scheme == "basic":
            request.headers["Authorization"] = self._basic_again(known)
        else:
            value = yield from self._fetch_token(challenge, scope)
            request.headers["Authorization"] = f"Bearer {value}"
        yield request

    def _known(self, scope: str) -> str | None:
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

    def _fetch_token(
        self, challenge: Challenge, scope: str
    ) -> Generator[httpx.Request, httpx.Response, str]:
        own, *mounted = scope.split()  # challenges forget where a blob is mounted from
        asked = dict.fromkeys([*(challenge.scope.split() or [own]), *mounted])
        response = yield self._token_request(challenge, list(asked))
        response.read()
        if response.status_code == 429 or response.status_code >= 500:
            reason = f"its token server answers {response.status_code}"
            raise RegistryUnavailableError(self._registry, self._repository, reason)
        if response.status_code != 200:
            raise self._refused(f"its token server answers {response.status_code}")
        try:
            document = response.json()
            value = str(document.get("token") or document["access_token"])
            seconds = float(document.get("expires_in") or TOKEN_SECONDS)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._refused("its token server answers without a token") from None
        with self._lock:
            until = time.monotonic() + seconds - RENEW_SECONDS
            self._tokens[scope] = Token(SecretStr(value), until)
        return value

    def _token_request(self, challenge: Challenge, scopes: list[str]) -> httpx.Request:
        realm = httpx.URL(challenge.realm)
        if realm.scheme != "https" and not (realm.scheme == "http" and is_local(realm.host)):
            raise self._refused(f"its token server {realm.host!r} is not spoken to over HTTPS")
        found = self._credentials
        if found and found.is_identity_token:
            secret = found.password.get_secret_value()
            grant = {
                "grant_type": "refresh_token",
                "client_id": CLIENT_ID,
                "refresh_token": secret,
                "service": challenge.service,
                "scope": " ".join(scopes),
            }
            return httpx.Request("POST", realm, data=grant)
        headers = {"Authorization": found.basic} if found else None
        query = {"service": challenge.service, "scope": scopes}  # a parameter for each scope
        return httpx.Request("GET", realm.copy_merge_params(query), headers=headers)

    def _refused(self, reason: str) -> RegistryAuthError:
        return RegistryAuthError(self._registry, self._repository, reason)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
