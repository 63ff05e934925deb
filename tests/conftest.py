"""A Local Registry and a Prefect home for each process of a test run; a Prefect server for all."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import ssl
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tests.support.prefect_server import end_shared_server, said_by_shared_server, shared_server
from tests.support.tiers import longest_first
from tests.support.watchdog import VARIABLE, guarded_folder

# Both are fixed once per process, so they are chosen before anything imports ommx or prefect.
SESSION = guarded_folder("ommx-prefect-tests-")
RUN = Path(os.environ[VARIABLE])
os.environ["OMMX_LOCAL_REGISTRY_ROOT"] = str(SESSION / "registry")
os.environ["PREFECT_HOME"] = str(SESSION / "prefect")
os.environ["PREFECT_LOGGING_LEVEL"] = "WARNING"
os.environ["PREFECT_LOGGING_TO_API_ENABLED"] = "false"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ.pop("PREFECT_API_URL", None)
# Each client reads all that it trusts: 140 certificates take 30 ms. No test speaks TLS with anyone,
# so that one of them will do.
TRUSTED = httpx.create_ssl_context(trust_env=False).get_ca_certs(binary_form=True)[:1]
(SESSION / "trusted.pem").write_text("".join(map(ssl.DER_cert_to_PEM_cert, TRUSTED)))
os.environ["SSL_CERT_FILE"] = str(SESSION / "trusted.pem")
# Hundreds of processes that tests start import Prefect: they need not compile it each time, and
# coverage, which is of the processes of the tests themselves, watches none of them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
# A shell starts what runs in its background with Ctrl-C ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

import coverage  # noqa: E402
import hypothesis  # noqa: E402
import pytest  # noqa: E402

if TYPE_CHECKING:
    from prefect.settings import Settings

    from ommx_prefect._oci.repository import Repository
    from tests.support.places import Place
    from tests.support.registry_server import RegistryServer

# What it asserts is shown as in a test.
pytest.register_assert_rewrite("tests.support.outcomes")
# A busy machine is no wrong answer.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

IS_WATCHED = pytest.StashKey[bool]()
SERVER_LOG = pytest.StashKey[str]()
FULL = "cases marked `full`: further runners, places and kinds of death of what runs once anyhow"


# Fixtures that start servers and other processes which take long.
SERVERS = {"server", "s3", "registry", "locked", "dask_address", "ray_here", "deployment"}
SERVERS |= {"tokens", "suite", "own_place"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let people ask for the cases that take long."""
    parser.addoption("--full", action="store_true", help=f"run {FULL} as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark as `server` what takes a fixture that starts one, and leave out what takes long."""
    for item in items:
        if not SERVERS.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.server)
    if not config.getoption("full"):
        left_out = [item for item in items if item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    longest_first(items)
    files: set[Path] = set()
    for item in items:
        has_server = item.get_closest_marker("server") is not None
        item.stash[IS_WATCHED] = not has_server or item.path not in files
        files |= {item.path} if has_server else set()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Let coverage watch the fast tier, and the first test of each file of the others.

    It doubles the time of whatever runs in a process that it watches.
    """
    watching = coverage.Coverage.current()
    if watching is None or item.stash[IS_WATCHED]:
        return (yield)
    watching.stop()
    try:
        return (yield)
    finally:
        watching.start()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what was left out, for workers of xdist tell nobody, and what the server said."""
    if said := config.stash.get(SERVER_LOG, ""):
        terminalreporter.section("the end of what the Prefect server logged")
        terminalreporter.write_line(said)
    if not config.getoption("full"):
        terminalreporter.write_line(f"Not run without --full: {FULL}.")


@pytest.fixture(autouse=True)
def _no_unmarked_server(request: pytest.FixtureRequest) -> Iterator[None]:
    """Refuse a flow run the temporary server that it would start, unless the test is marked."""
    if request.node.get_closest_marker("server"):
        yield
        return
    from prefect.context import SettingsContext, get_settings_context

    profile = get_settings_context().profile
    with SettingsContext(profile=profile, settings=_settings_without_temporary_server()):
        yield


@functools.cache
def _settings_without_temporary_server() -> Settings:
    """Make them once: that takes as long as many a test."""
    from prefect.settings import PREFECT_SERVER_ALLOW_EPHEMERAL_MODE, get_current_settings

    updates = {PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False}
    return get_current_settings().copy_with_update(updates=updates)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):  # the process that started the others
        if session.testsfailed:  # their reason may stand there
            session.config.stash[SERVER_LOG] = said_by_shared_server(RUN)
        end_shared_server(RUN)
    shutil.rmtree(SESSION, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a test log text that is not Unicode: processes of tests send their reports as UTF-8."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def open_instances() -> Path:
    """The folder of instances that every checkout has."""
    from tests.support.instance_files import OWN

    return OWN


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The run's real Prefect server; its API URL is the setting of this process."""
    with shared_server(RUN) as url:
        yield url


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 server on 127.0.0.1, by its URL."""
    from tests.support.places import require, start_s3

    require("prefect_aws", "moto", "flask", "s3fs")
    process, url = start_s3(tmp_path_factory.mktemp("s3") / "server.log")
    yield url
    process.terminate()
    process.wait(240)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A real OCI registry on 127.0.0.1."""
    from tests.support.registry_server import running_registry

    with running_registry(tmp_path_factory.mktemp("oci")) as server:
        yield server


@pytest.fixture
def repository(registry: RegistryServer, request: pytest.FixtureRequest) -> Iterator[Repository]:
    """A repository of the registry for one test, by our client."""
    from ommx_prefect._oci.repository import Repository

    with Repository(registry.host, f"tests/{abs(hash(request.node.name))}") as found:
        yield found


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing on this machine opens a registry: no config of docker, no setting of OMMX."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    for name in ("DOMAIN", "USERNAME", "PASSWORD"):
        monkeypatch.delenv(f"OMMX_BASIC_AUTH_{name}", raising=False)


@pytest.fixture
def brief_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that is away is away soon."""
    from ommx_prefect._oci import transport
    from ommx_prefect._registry.blobs import registry_root

    registry_root()  # of this process, whatever its workers are told
    for table in (transport.RETRY, transport.BRIEF_RETRY):
        for name, value in {"attempts": 2, "wait_initial": 0.05, "wait_jitter": 0.05}.items():
            monkeypatch.setitem(table, name, value)


@pytest.fixture
def patient_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A seal waits long for what Prefect alone knows: a busy server is no wrong answer."""
    from ommx_prefect._prefect import api

    for name in ("EXPLAIN_SECONDS", "GONE_SECONDS"):
        monkeypatch.setattr(api, name, 120.0)


@pytest.fixture
def place(registry: RegistryServer) -> Place:
    """A stage in the registry, and an image name in another repository there."""
    from tests.support.places import RegistryPlace

    name = f"p{uuid.uuid4().hex[:8]}"
    return RegistryPlace(registry, f"{name}/shards", f"{registry.host}/{name}/night:one")


@pytest.fixture
def shared(tmp_path: Path) -> Place:
    """A folder that hosts share, as a storage block."""
    from tests.support.places import folder_place

    return folder_place(tmp_path, f"folder-{uuid.uuid4().hex[:8]}")
