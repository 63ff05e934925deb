"""Texts of others on pages, as Prefect's two UIs render them: every character only shows itself."""

from __future__ import annotations

from prefect import get_client
from prefect.client.schemas.actions import ArtifactCreate

from ommx_prefect._values.display import for_markdown, for_terminal
from tests.support.browser import browser_tab
from tests.support.rendered import PLACES, Gallery
from tests.values.test_display import EVIL

TEXTS = [
    *EVIL,
    "<img src=x onerror=\"document.title='owned'\">",
    "solver_time_limit *a* 2026-11-29T14:43:00+00:00 x.y",
    "1 < 2 > 0 & 'q' \"d\"",
    "a\\b \\| c",
]


def test_both_uis_show_just_the_text_in_a_list_and_in_a_cell(server, tmp_path):
    lines = [f"- {for_markdown(text)} end{number}" for number, text in enumerate(TEXTS)]
    lines += ["", "| a | b |", "|---|---|", *(f"| {for_markdown(text)} | c |" for text in TEXTS)]
    page = ArtifactCreate(type="markdown", key="texts", data="\n".join([*lines, "", "finish"]))
    with get_client(sync_client=True) as client, browser_tab(tmp_path / "profile") as tab:
        artifact = client.create_artifact(page)
        gallery = Gallery(tab, server, tmp_path)
        for ui in PLACES:
            gallery.show(ui, artifact.id, "finish")
            shown, cells = tab.value("document.body.innerText"), gallery.cells()
            for number, text in enumerate(TEXTS):
                assert f"{for_terminal(text)} end{number}" in shown, (ui, text)
                assert for_terminal(text) in cells, (ui, text)
            assert tab.value("document.querySelectorAll('img[src=x]').length") == 0
            assert "owned" not in tab.value("document.title")
