"""Check the set-up of this machine on one screen, with a cure for what cannot work."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from typing import Annotated
from uuid import uuid4

import httpx
import typer
from prefect.settings import get_current_settings
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ommx_prefect._flowrun.registry import load_registry, stage_wanted
from ommx_prefect._flowrun.settings import ExperimentSettings
from ommx_prefect._oci.credentials import Credentials, find_credentials
from ommx_prefect._oci.repository import Repository
from ommx_prefect._registry.blobs import registry_root
from ommx_prefect._settings import OmmxSettings
from ommx_prefect._solver.backends import BACKENDS
from ommx_prefect._stages.documents import FLOW_RECORD
from ommx_prefect._stages.resolve import stage_at
from ommx_prefect._values.display import for_terminal
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect.cli._registry import missing_registry
from ommx_prefect.exceptions import OmmxPrefectError

PACKAGES = ("ommx-prefect", "ommx", "prefect")
SERVER_SECONDS = 10.0
# More than this, and times of this host and of the server cannot be compared.
MOST_CLOCK_SECONDS = 5.0
LEAST_FREE_BYTES = 1_000_000_000
# A tag that nobody has: whoever may look for it may read.
PROBE_TAG = "ommx-prefect-doctor"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        what: The thing that was looked at.
        found: What it is here.
        cure: What to do about it; empty where it is well.
    """

    what: str
    found: str
    cure: str = ""


def doctor_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Show what would be used here: server, registry, stage, credentials, versions, solvers, disk.

    Nothing is changed, and no password is shown. The exit code is 1 where something cannot work;
    what to do about it stands beside it.
    """
    found = [finding for check in CHECKS for finding in _checked(check)]
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=2))
    else:
        Console(width=None).print(_table(found))
    if any(each.cure for each in found):
        raise typer.Exit(1)


def _checked(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Run a check; one that breaks is a finding itself."""
    try:
        yield from check()
    except Exception as error:
        name = check.__name__.strip("_")
        yield Finding(name, describe_error(error), "mend what it says, and ask again")


def _versions() -> Iterator[Finding]:
    found = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    yield Finding("versions", ", ".join([*found, f"Python {platform.python_version()}"]))


def _server() -> Iterator[Finding]:
    """Ask the server for its version, and compare its clock with that of this host."""
    url = get_current_settings().api.url
    if not url:
        yield Finding("server", "none: each script starts a temporary one that ends with it")
        return
    try:
        before = time.time()
        answer = httpx.get(f"{url}/admin/version", timeout=SERVER_SECONDS, headers=_login())
        answer.raise_for_status()
    except httpx.HTTPError as error:
        cure = "start it (`prefect server start`), or set PREFECT_API_URL to the one that runs"
        yield Finding("server", f"{url} does not answer ({describe_error(error)})", cure)
        return
    yield Finding("server", f"{url}, Prefect {answer.json()}")
    yield _clock(answer, (before + time.time()) / 2)


def _login() -> dict[str, str]:
    key = get_current_settings().api.key
    return {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}


def _clock(answer: httpx.Response, asked_at: float) -> Finding:
    try:  # a header of whole seconds
        ahead = asked_at - parsedate_to_datetime(answer.headers["date"]).timestamp() - 0.5
    except (KeyError, ValueError):
        return Finding("clock", "the server does not tell its time")
    if abs(ahead) < MOST_CLOCK_SECONDS:
        return Finding("clock", f"{abs(ahead):.0f} s from the server's")
    side = "ahead of" if ahead > 0 else "behind"
    return Finding("clock", f"{abs(ahead):.0f} s {side} the server's", "set both by NTP")


def _registry() -> Iterator[Finding]:
    """Load the default registry block, and check that its registry accepts the credentials."""
    name = OmmxSettings().registry
    if not name:
        yield Finding("registry", "none set: each flow names its own")
        yield Finding("credentials", "those that each registry has in the environment or Docker")
        return
    try:
        block = load_registry(name)
    except OmmxPrefectError as error:
        cure = "save it in the UI, or set PREFECT_INTEGRATIONS_OMMX_REGISTRY to one that is there"
        yield Finding("registry", str(error), cure)
        return
    own = Credentials(block.username, block.password) if block.password else None
    yield _reached(name, block.registry, block.repository, own)
    known = "of the block" if own else "of the environment or Docker"
    found = known if own or find_credentials(block.registry) else "none: anonymous"
    yield Finding("credentials", f"{found} (not shown)" if "none" not in found else found)


def _reached(name: str, registry: str, repository: str, own: Credentials | None) -> Finding:
    shown = f"{name}: {registry}/{repository}".rstrip("/")
    try:
        with Repository(registry, repository or "library/none", own, brief=True) as place:
            place.find_manifest(PROBE_TAG)
    except OmmxPrefectError as error:
        cure = "mend the block: registry, username and password; or start the registry"
        return Finding("registry", f"{shown}: {describe_error(error)}", cure)
    return Finding("registry", f"{shown} answers")


def _stage() -> Iterator[Finding]:
    """Check that the stage answers, by reading a document that does not exist."""
    name = stage_wanted(ExperimentSettings()) or OmmxSettings().stage
    try:
        stage_at(str(uuid4()), name).read(FLOW_RECORD)
    except OmmxPrefectError as error:
        cure = "save the block, or set PREFECT_INTEGRATIONS_OMMX_STAGE to one that is there"
        yield Finding("stage", str(error), cure)
    else:
        yield Finding("stage", name)


def _solvers() -> Iterator[Finding]:
    there = [each for each in BACKENDS if importlib.util.find_spec(each.module)]
    shown = [f"{x.name} ({importlib.metadata.version(x.module)})" for x in there]
    cure = "" if there else "install one: pip install 'ommx-prefect[highs]'"
    yield Finding("solvers", ", ".join(shown) or "none", cure)


def _disk() -> Iterator[Finding]:
    root = registry_root()
    place = next(each for each in (root, *root.parents) if each.exists())
    free = shutil.disk_usage(place).free
    cure = "" if free >= LEAST_FREE_BYTES else "free space, or move OMMX_LOCAL_REGISTRY_ROOT"
    yield Finding("Local Registry", str(root), missing_registry())
    yield Finding("disk", f"{free / 1e9:.1f} GB free there", cure)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    *(_versions, _server, _registry, _stage, _solvers, _disk),
)


def _table(found: list[Finding]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("", "what", "found", "what to do"):
        table.add_column(title, overflow="fold")
    for each in found:
        mark, style = ("!!", "bold red") if each.cure else ("ok", "green")
        cells = (mark, each.what, each.found, each.cure)
        table.add_row(*(Text(for_terminal(cell)) for cell in cells), style=style)
    return table
