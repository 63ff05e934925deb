"""A real token server for a registry with bearer authentication, in a thread of the test.

It speaks https://distribution.github.io/distribution/spec/auth/token/: GET with basic
credentials, or POST with an identity token, answered by a JWT that the registry verifies.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

SERVICE, ISSUER = "tests-registry", "tests-issuer"
IDENTITY_TOKEN = "identity-token-of-alice"


@dataclass
class TokenServer:
    """Whom it lets in, what it was asked, and how the registry has to be configured."""

    folder: Path
    user: str
    password: str
    identity_token: str
    expires_in: int = 300
    asked: list[list[str]] = field(default_factory=list)
    port: int = 0

    def __post_init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
        now = datetime.datetime.now(datetime.timezone.utc)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        pem = self.certificate.public_bytes(serialization.Encoding.PEM)
        (self.folder / "root.pem").write_bytes(pem)

    @property
    def auth(self) -> dict[str, Any]:
        """The `auth` section of the registry's configuration."""
        return {
            "token": {
                "realm": f"http://127.0.0.1:{self.port}/token",
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": str(self.folder / "root.pem"),
            }
        }

    def token(self, scopes: list[str]) -> str:
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        access = [
            dict(zip(("type", "name", "actions"), (kind, name, actions.split(",")), strict=True))
            for kind, name, actions in (scope.split(":") for scope in scopes)
        ]
        now = int(time.time())
        claims = {
            "iss": ISSUER, "sub": self.user, "aud": SERVICE, "access": access, "jti": "1",
            "iat": now, "nbf": now - 10, "exp": now + 300,
        }  # fmt: skip
        signed = f"{_encoded(header)}.{_encoded(claims)}"
        signature = self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64url(signature)}"


@contextlib.contextmanager
def running_token_server(
    folder: Path, user: str, password: str, identity_token: str
) -> Iterator[TokenServer]:
    """Run it on a free port of 127.0.0.1."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = TokenServer(folder, user, password, identity_token)
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            self._answer(query, self.headers.get("Authorization") == f"Basic {pair}")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = parse_qs(body)
            self._answer(form, form.get("refresh_token") == [identity_token])

        def _answer(self, query: dict[str, list[str]], allowed: bool) -> None:
            scopes = [scope for text in query.get("scope", []) for scope in text.split()]
            tokens.asked.append([_in_order(scope) for scope in scopes])
            body = b"{}"
            if allowed:
                answer = {"access_token": tokens.token(scopes), "expires_in": tokens.expires_in}
                body = json.dumps(answer).encode()
            self.send_response(200 if allowed else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tokens.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield tokens
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def _in_order(scope: str) -> str:
    """Return a scope with its actions in order: docker-registry names them in any."""
    resource, _, actions = scope.rpartition(":")
    return f"{resource}:{','.join(sorted(actions.split(',')))}"


def _encoded(document: dict[str, Any]) -> str:
    return _base64url(json.dumps(document).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
