"""The command line: inspect experiments, and seal what no hook has sealed."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ommx_prefect.cli._compare import compare_command
from ommx_prefect.cli._doctor import doctor_command
from ommx_prefect.cli._export import export_command
from ommx_prefect.cli._find import find_command
from ommx_prefect.cli._list import list_command
from ommx_prefect.cli._output import complain
from ommx_prefect.cli._replay import replay_command
from ommx_prefect.cli._report import report_command
from ommx_prefect.cli._seal import recover_command, seal_command, status_command
from ommx_prefect.cli._share import pull_command, push_command
from ommx_prefect.cli._show import show_command
from ommx_prefect.cli._tidy import du_command, prune_command
from ommx_prefect.exceptions import OmmxPrefectError

# Panel of the help -> its commands by name, in the order in which people need them.
COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Look": {
        "list": list_command,
        "show": show_command,
        "compare": compare_command,
        "report": report_command,
        "replay": replay_command,
        "find": find_command,
    },
    "Share and tidy": {
        "export": export_command,
        "push": push_command,
        "pull": pull_command,
        "du": du_command,
        "prune": prune_command,
    },
    "Seal": {"status": status_command, "recover": recover_command, "seal": seal_command},
    "Look after": {"doctor": doctor_command},
}
VERSIONS = ("ommx-prefect", "ommx", "prefect")


class Commands(TyperGroup):
    """The commands: an error that is told on purpose is one line, and the exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command as click does."""
        try:
            return super().invoke(ctx)
        except OmmxPrefectError as error:
            complain(error)
        except ImportError as error:  # an extra that is not installed
            complain(error)
        raise typer.Exit(2)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order in which they are shown."""
        return [name for commands in COMMANDS.values() for name in commands]


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",  # which joins the lines of a paragraph
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Look at the OMMX Experiments of Prefect flow runs, and seal those that no hook has
    sealed.

    Everything but `status`, `recover` and `seal` reads sealed artifacts alone, and needs no
    Prefect server. Experiments are looked for in the Local Registry
    (`OMMX_LOCAL_REGISTRY_ROOT`), and fetched where it does not have them.

    A flow run's hook seals its experiment. After kill -9 of a script, SIGTERM of a process
    worker, or a power failure no hook runs, and the records wait in the Local Registry until
    `recover` finds them. Which Prefect is asked, the Prefect profile or `PREFECT_API_URL` says.

    Exit code: 0; 1 for a finding, such as a regression, or what could not be sealed; 2 when the
    command is wrong, or what it asks for cannot be had.

    Begin with `ommx-prefect list`, which changes nothing.""",
)

for _panel, _commands in COMMANDS.items():
    for _name, _command in _commands.items():
        app.command(_name, rich_help_panel=_panel)(_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        found = [f"{name} {importlib.metadata.version(name)}" for name in VERSIONS]
        print(", ".join([*found, f"Python {platform.python_version()}"]))
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print versions.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Keep the commands apart."""
