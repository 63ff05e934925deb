"""The first traced call of OMMX is made in one thread, and the others wait until it is over."""

from __future__ import annotations

import threading

from ommx import Instance

from ommx_prefect._workarounds import rust_spans


def test_no_thread_takes_the_first_call_for_made_before_it_is_over(monkeypatch):
    is_begun, is_over, seen = threading.Event(), threading.Event(), []

    class Slow:
        """OMMX's Instance, which another thread can ask for meanwhile."""

        @staticmethod
        def from_components(**components):
            is_begun.set()
            is_over.wait(60)
            seen.append("made")
            return Instance.from_components(**components)

    def asks():
        rust_spans.leave_rust_spans()
        seen.append("asked")

    monkeypatch.setattr(rust_spans, "_is_bridge_made", False)
    monkeypatch.setattr(rust_spans, "Instance", Slow)
    threads = [threading.Thread(target=rust_spans.leave_rust_spans), threading.Thread(target=asks)]
    threads[0].start()
    is_begun.wait(60)
    threads[1].start()
    threads[1].join(0.5)
    is_over.set()
    for thread in threads:
        thread.join(60)
    assert seen == ["made", "asked"]
