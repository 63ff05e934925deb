"""Texts of strangers on terminals and in markdown: every character only shows itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.markdown import Markdown

from ommx_prefect._values.display import as_code, for_markdown, for_terminal

EVIL = [
    "\x1b[31mred\x1b[0m",
    "two\nlines\r\tand a tab",
    "bidi \u202e gnp.exe",
    "<script>alert(1)</script>",
    "a | b | `c` **d** _e_ ~~f~~",
    "[link](https://evil.example) ![x](data:image/png;base64,AA)",
    "https://evil.example www.evil.example a@evil.example",
    "&lt;b&gt; $x$ # head",
    "lone surrogate \udcff",
]


@pytest.mark.parametrize("text", EVIL)
def test_what_a_terminal_shows_has_no_control_characters(text):
    shown = for_terminal(text)
    assert shown.isprintable()
    shown.encode()


@given(st.text(max_size=200))
def test_printable_text_is_shown_as_it_is_and_nothing_else_can_act(text):
    shown = for_terminal(text)
    assert shown.isprintable()
    assert shown == text or not text.isprintable()


@pytest.mark.parametrize("text", EVIL)
@pytest.mark.parametrize("clean", [for_markdown, as_code])
def test_markdown_shows_just_the_text_in_a_paragraph_and_in_a_cell(text, clean):
    console = Console(width=200, force_terminal=False)
    with console.capture() as capture:
        console.print(Markdown(f"before {clean(text)} after"))
    assert capture.get().strip() == f"before {for_terminal(text)} after"
    with console.capture() as capture:
        console.print(Markdown(f"|a|b|\n|---|---|\n|{clean(text)}|second|"))
    assert for_terminal(text) in capture.get()
    assert "second" in capture.get()


def test_long_texts_are_cut():
    assert len(for_terminal("x" * 10_000)) == 1_000
