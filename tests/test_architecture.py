"""Which module may import what: one way, from decorators down to pure functions."""

from __future__ import annotations

import ast
import builtins
import dis
from pathlib import Path
from types import CodeType

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


def plain():
    return 1


async def coroutine():
    return 1


def generator():
    yield 1


async def async_generator():
    yield 1


def globals_of(code: CodeType) -> set[str]:
    """The names that code looks up in its globals, and that are not Python's own."""
    names = {x.argval for x in dis.get_instructions(code) if x.opname == "LOAD_GLOBAL"}
    inner = (x for x in code.co_consts if isinstance(x, CodeType) and x.co_name == "step")
    return {name for name in names.union(*map(globals_of, inner)) if not hasattr(builtins, name)}


@pytest.mark.parametrize("decorator", [ommx_prefect.recorded, ommx_prefect.flow])
@pytest.mark.parametrize("function", [plain, coroutine, generator, async_generator])
def test_wrappers_use_no_globals_for_they_get_those_of_the_function(decorator, function):
    decorated = decorator(function)
    wrapper = getattr(decorated, "fn", decorated)
    assert wrapper.__globals__ is globals()
    assert globals_of(wrapper.__code__) == set()


def test_nothing_in_the_package_unpickles():
    for module in MODULES:
        names = {name.partition(".")[0] for name in imported(module, anywhere=True)}
        assert not names & {"pickle", "cloudpickle", "dill", "joblib"}, module
