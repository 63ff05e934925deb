"""Which module may import what: one way, from decorators down to pure functions."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import ommx_prefect

PACKAGE = Path(ommx_prefect.__file__).parent
MODULES = {path.stem: path for path in PACKAGE.glob("*.py")}

# Pure: these know neither Prefect nor OMMX.
PURE = {
    "_records", "_decode", "_encode", "_compose", "_merge", "_shards", "_image_name", "_inputs",
    "_oci", "_oci_auth", "_oci_credentials", "_oci_http", "_oci_names",
    "_remote", "_shard_archive", "_oci_records", "_stage_protocol",
}  # fmt: skip
# These know OMMX, not Prefect.
WITHOUT_PREFECT = {
    *PURE, "_registry", "_stage", "_publish", "_home", "_pickling", "_json_codec", "_table_codecs",
    "_figure_codecs", "_codec_registry", "codecs", "exceptions", "_result_origins", "_lost",
    "_push",
    "_checkpoint_files", "_checkpoint_values", "_keeper",
}  # fmt: skip


def imported(module: str, *, anywhere: bool) -> set[str]:
    """The modules that one imports; at its top level only, or anywhere in it."""
    tree = ast.parse(MODULES[module].read_text())
    nodes = ast.walk(tree) if anywhere else iter(tree.body)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("module", sorted(WITHOUT_PREFECT))
def test_the_lower_modules_do_not_import_prefect(module):
    names = {name.partition(".")[0] for name in imported(module, anywhere=True)}
    assert "prefect" not in names


@pytest.mark.parametrize("module", sorted(PURE))
def test_the_pure_modules_do_not_import_ommx(module):
    names = {name.partition(".")[0] for name in imported(module, anywhere=True)}
    assert "ommx" not in names


def test_imports_run_one_way():
    inside = {
        module: {
            name.removeprefix("ommx_prefect.").partition(".")[0]
            for name in imported(module, anywhere=False)
            if name.startswith("ommx_prefect.")
        }
        & MODULES.keys()
        for module in MODULES
        if module != "__init__"
    }
    order: list[str] = []
    while left := inside.keys() - set(order):
        free = sorted(module for module in left if inside[module] <= set(order) | {module})
        assert free, f"these import each other: {sorted(left)}"
        order += free


def test_nothing_in_the_package_unpickles():
    for module in MODULES:
        names = {name.partition(".")[0] for name in imported(module, anywhere=True)}
        assert not names & {"pickle", "cloudpickle", "dill", "joblib"}, module
