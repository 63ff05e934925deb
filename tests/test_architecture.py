"""Which module may import what: one way, from decorators down to pure functions."""

from __future__ import annotations

import ast
import builtins
import dis
import importlib
from pathlib import Path
from types import CodeType

import pytest

import ommx_prefect

PACKAGE = Path(ommx_prefect.__file__).parent

# From what users type down to the ground. A file imports its own package, and packages of lower
# rows; never a neighbour of its row, lazily or for types either.
LAYERS = (
    {"__init__", "__main__"},
    {"_moved", "cli"},
    {"solvers", "testing", "_catalogue"},
    {"_decorators"},
    {"_recovery"},
    {"_reporting"},
    {"_sealing", "_recording", "analysis"},
    {"_flowrun"},
    {"_targets"},
    {"_stages"},
    {"codecs", "instances", "blocks", "_registry", "_prefect"},
    {"_shards", "_solver", "_values"},
    {"_format", "_oci"},
    {"exceptions", "_pickling", "_settings", "_workarounds"},
    {"_memory"},
)
ROW = {package: row for row, packages in enumerate(LAYERS) for package in packages}

# What is imported with these, however indirectly, knows neither Prefect nor OMMX.
PURE = ("_format", "_oci", "_memory")
# And these know OMMX, not Prefect.
WITHOUT_PREFECT = (
    "_shards",
    "_solver",
    "_registry",
    "codecs",
    "_workarounds",
    "exceptions",
    "analysis",
)

# What users import, to the name: a new one is a promise, and one that goes away breaks somebody.
PUBLIC = {
    "ommx_prefect": """
        SealedExperiment checkpoint codecs current_experiment current_run earlier_experiments
        exceptions flow
        instance_digest instances load_experiment pull_experiment recorded register_codec
        seal seal_hooks
        solvers task
    """,
    "ommx_prefect.blocks": "OMMXRegistry",
    "ommx_prefect.codecs": """
        ArrowTableCodec BytesCodec CodecEntry CodecRegistry DataFrameCodec JsonCodec
        LoggedValue MatplotlibCodec NumpyCodec PlotlyCodec PrefectStateCodec REDACTED
        SeriesCodec SkippedValue StateCodec is_secret log_value register_codec registry
    """,
    "ommx_prefect.instances": """
        InstanceFileError NamedInstance expand_sources load_instance
    """,
    "ommx_prefect.solvers": """
        InfeasibleError NoSolutionError NotApplicableError SolveOutcomeError SolverError
        SolverOptionError UnboundedError UnknownAdapterError instance_digest outcome_of
        race resolve_adapter sample solve
    """,
    "ommx_prefect.analysis": """
        Comparison compare contradictions data_profile differences environment_of environments_of
        gap_over_time known_values performance_profile plot_gap plot_profile plot_scatter plot_trend
        read_solu report_html shifted_geometric_mean solves totals virtual_best write_report
        write_solu write_trc
    """,
    "ommx_prefect.testing": "ShardStore StageContract Store StoreContract",
    "ommx_prefect.exceptions": """
        DocumentError DuplicateAttachmentError FlowRunNotFinishedError ForkedProcessError
        ImageNameError ImageNameTakenError InfeasibleError InstanceFileError
        InvalidFlowRunIdError InvalidImageNameError
        LocalNameError ManifestTooLargeError NoCheckpointError NoExperimentError NoOpenRunError
        NoSolutionError NotApplicableError NotInRegistryError NotSealedError
        OmmxPrefectError RecordingError RegistryAuthError RegistryError
        RegistryUnavailableError SealError SolveOutcomeError SolverError SolverOptionError
        StageError UnboundedError UnknownAdapterError UnknownFormatError UnknownImageError
        UnreadableError
    """,
}

FILES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imports_of(module: str) -> set[str]:
    """All modules that one imports, wherever in its code: ours by file, others by first name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            name = node.module or ""
            inside = {f"{name}.{alias.name}" for alias in node.names} & FILES.keys()
            found |= inside or {name}
    return {x if x in FILES else x.partition(".")[0] for x in found}


def package_of(module: str) -> str:
    return module.removeprefix("ommx_prefect").lstrip(".").partition(".")[0] or "__init__"


def everything_below(packages: tuple[str, ...]) -> set[str]:
    """What the modules of some packages import, directly or through others."""
    seen: set[str] = set()
    waiting = [x for x in FILES if package_of(x) in packages]
    while waiting:
        for name in imports_of(waiting.pop()) - seen:
            seen.add(name)
            if name in FILES:
                waiting.append(name)
    return seen


@pytest.mark.parametrize("module", FILES)
def test_every_import_points_down(module):
    own = package_of(module)
    for name in imports_of(module) & FILES.keys():
        other = package_of(name)
        assert other == own or ROW[other] > ROW[own], f"{module} imports {name}"


def test_no_modules_import_each_other():
    inside = {x: {y for y in imports_of(x) & FILES.keys() if y != x} for x in FILES}
    order: set[str] = set()
    while left := inside.keys() - order:
        free = {module for module in left if inside[module] <= order}
        assert free, f"these import each other: {sorted(left)}"
        order |= free


def test_what_is_pure_knows_neither_prefect_nor_ommx():
    assert not everything_below(PURE) & {"prefect", "ommx"}


def test_what_needs_no_prefect_does_not_import_it():
    assert "prefect" not in everything_below(WITHOUT_PREFECT)


@pytest.mark.parametrize("module", PUBLIC)
def test_a_public_module_offers_these_names_and_no_others(module):
    offered = importlib.import_module(module).__all__
    assert sorted(offered) == PUBLIC[module].split()


def test_every_module_without_an_underscore_is_public_or_the_command_line():
    first = {package_of(x) for x in FILES} - {"__init__", "__main__", "cli"}
    public = {package_of(x) for x in PUBLIC} - {"__init__"}
    assert {x for x in first if not x.startswith("_")} == public


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
    for module in FILES:
        assert not imports_of(module) & {"pickle", "cloudpickle", "dill", "joblib"}, module
