"""README is short, links lead somewhere, and what documents name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.documents.make_pictures import PICTURES
from tests.documents.pages import HEADING, PAGES, ROOT, Page, page
from tests.support.rendered import DOCUMENTED

MOST_WORDS = 900
TESTS = "\n".join(path.read_text() for path in sorted((ROOT / "tests").rglob("*.py")))
FOLDERS = ("docs", "flows", "tests", "ommx_prefect")

every_page = pytest.mark.parametrize("read", PAGES, ids=lambda x: x.name)


def test_the_readme_is_short():
    assert len(page("README.md").text.split()) <= MOST_WORDS


@every_page
def test_links_lead_to_pages_and_headings(read):
    for link in read.links:
        target, _, anchor = link.partition("#")
        assert "://" not in target, f"{link}: what a page needs is on this site"
        path = (read.path.parent / target).resolve() if target else read.path
        assert path.is_file(), link
        assert not anchor or anchor in Page(path).anchors, link


@every_page
def test_links_of_the_site_stay_on_the_site(read):
    docs = ROOT / "docs"
    if docs in read.path.parents:
        targets = [(read.path.parent / x.partition("#")[0]).resolve() for x in read.links]
        assert [x for x in targets if docs not in x.parents] == []


@every_page
def test_tests_that_are_named_are_there(read):
    named = set(re.findall(r"`(test_\w+)`", read.text))
    assert {name for name in named if f"def {name}(" not in TESTS} == set()


@every_page
def test_files_that_are_named_are_there(read):
    named = re.findall(rf"(?<![\w/.])(?:{'|'.join(FOLDERS)})/[\w./-]*\w", read.text)
    assert {name for name in named if not (ROOT / name).exists()} == set()


@every_page
def test_no_heading_stands_twice_on_a_page(read):
    headings = HEADING.findall(read.prose.partition("## [0.1.0]")[0])
    # Each release of the changelog has the same ones.
    assert sorted(headings) == sorted(set(headings))


def test_every_page_of_the_site_is_in_its_menu():
    menu = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2].partition("\n\n")[0]
    listed = re.findall(r"[\w/-]+\.md", menu)
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(listed) == sorted(there)


def test_nothing_in_the_documents_is_of_one_machine():
    pattern = re.compile(r"/(?:work|root|home|opt/w)/|\b(?:\d{1,3}\.){3}\d{1,3}\b")
    for read in PAGES:
        found = set(pattern.findall(read.text)) - {"127.0.0.1"}
        assert not found, (read.name, found)
    pictures = {".png", ".jpg", ".jpeg", ".gif", ".svg"}
    # Those alone that `make_pictures` makes, cut off above what names a host or a folder.
    found = {x for x in Path(ROOT / "docs").rglob("*") if x.suffix in pictures}
    assert found == {PICTURES / f"{name}.png" for name in DOCUMENTED}
