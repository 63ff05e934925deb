"""A way to a server that counts what is asked of it: requests by method and path.

It forwards bytes as they are, WebSockets too, and reads the first line of each request.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.prefect_server import send_events

REQUEST = re.compile(rb"^(GET|HEAD|POST|PUT|PATCH|DELETE) (\S+) HTTP/1\.1\r$", re.MULTILINE)
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Of the API: what reads although it is a POST.
READS = re.compile(r"/(filter|count|paginate|history)$|/lateness$")
PIECE = 1 << 16


@dataclass
class Counting:
    """What was asked so far: `POST /api/artifacts/` and the like, ids as `ID`, by their number."""

    url: str
    requests: Counter[str] = field(default_factory=Counter)

    @property
    def writes(self) -> Counter[str]:
        """Requests that change something."""
        return Counter(
            {
                request: number
                for request, number in self.requests.items()
                if not request.startswith(("GET", "HEAD")) and not READS.search(request)
            }
        )

    def count(self, head: bytes) -> None:
        """Count the requests that begin in some bytes."""
        for method, path in REQUEST.findall(head):
            plain = ID.sub("ID", path.decode().partition("?")[0])
            self.requests[f"{method.decode()} {plain}"] += 1


@contextlib.contextmanager
def counting_proxy(url: str) -> Iterator[Counting]:
    """Stand before the server of a URL on 127.0.0.1 while a block runs."""
    host, port = url.split("/")[2].split(":")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        own = f"127.0.0.1:{listening.getsockname()[1]}"
        counting = Counting(url.replace(f"{host}:{port}", own))
        where = (host, int(port))
        threading.Thread(target=_listen, args=(listening, where, counting), daemon=True).start()
        yield counting
        send_events()


def _listen(listening: socket.socket, where: tuple[str, int], counting: Counting) -> None:
    with contextlib.suppress(OSError):  # closed: the block is over
        while True:
            asking, _ = listening.accept()
            args = (asking, where, counting)
            threading.Thread(target=_forward, args=args, daemon=True).start()


def _forward(asking: socket.socket, where: tuple[str, int], counting: Counting) -> None:
    with contextlib.suppress(OSError), asking, socket.create_connection(where) as answering:
        ways = {asking: answering, answering: asking}
        while True:
            for side in select.select(list(ways), [], [])[0]:
                data = side.recv(PIECE)
                if not data:
                    return
                if side is asking:
                    counting.count(data)
                ways[side].sendall(data)
