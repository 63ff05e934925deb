"""An HTTP server on 127.0.0.1 whose answers a test writes, for what no real registry would say."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Answers every method by one function."""

    script: Callable[[Handler], None]
    # Headers and body are two packets, and the second would wait for the first's receipt.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        type(self).script(self)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def body(self) -> bytes:
        """Read the body of the request, so that the connection can be used again.

        Raises:
            ConnectionError: Who sends it has died in the middle.
        """
        size = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(size)
        if len(body) < size:
            raise ConnectionError(f"{len(body)} bytes instead of {size}")
        return body

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


class Server(ThreadingHTTPServer):
    """Takes all connections that our clients open at once: the sixth would wait for a second."""

    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has closed its connection."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def answering(script: Callable[[Handler], None], *, keeps: bool = False) -> Iterator[str]:
    """Serve one function's answers; yields `host:port`.

    Args:
        script: Answers a request. It reads the whole body of each, where connections are kept.
        keeps: Whether connections are kept, as real registries do.
    """
    members = {"script": staticmethod(script)}
    members |= {"protocol_version": "HTTP/1.1" if keeps else "HTTP/1.0"}
    handler = type("Scripted", (Handler,), members)
    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
