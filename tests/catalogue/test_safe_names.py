"""Attachments become files under names that are safe."""

from __future__ import annotations

import pytest

from ommx_prefect._catalogue.safe_names import safe_name, unique_name


@pytest.mark.parametrize(
    ("name", "media_type", "filename", "safe"),
    [
        ("trajectory", "application/json", "", "trajectory.json"),
        ("solver.log", "text/plain; charset=utf-8", "", "solver.log"),
        ("../../etc/passwd", "text/plain", "", "_.._etc_passwd.txt"),
        ("a b/c", "image/png", "", "a_b_c.png"),
        ("x", "text/csv", "../data 1.csv", "_data_1.csv"),
        ("\x1b[31m\u202e", "", "", "_31m_"),
        ("..", "", "", "unnamed"),
        ("CON", "text/plain", "", "_CON.txt"),
        ("output.0", "application/json", "", "output.0.json"),
        ("n" * 300, "image/png", "", "n" * 96 + ".png"),
    ],
)
def test_file_names_are_safe(name, media_type, filename, safe):
    assert safe_name(name, media_type, filename) == safe


def test_no_two_files_have_one_name_whatever_the_case():
    taken: set[str] = set()
    assert [unique_name(x, taken) for x in ("a.txt", "A.txt", "a.txt", "b", "b")] == [
        *("a.txt", "A-2.txt", "a-3.txt", "b", "b-2"),
    ]
