"""The command line: inspect experiments, and seal what no hook has sealed."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ommx_prefect.cli._output import complain
from ommx_prefect.exceptions import OmmxPrefectError

# Panel of the help -> command -> its module, and its line there. A module is imported when its
# command is called, or asked for its own help: most need pandas or Prefect, which take seconds.
COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Look": {
        "list": ("_list", "Show sealed experiments, checkpoints, and flow runs left unsealed."),
        "show": ("_show", "Show what a night came to, its Runs the worst first; or one Run."),
        "compare": (
            "_compare",
            "Compare a night with earlier ones: what is better, what is worse.",
        ),
        "report": ("_report", "Write one HTML page about a night, which opens without a network."),
        "replay": ("_replay", "Solve recorded instances again, and say whether it agrees."),
        "find": ("_find", "Find the Runs of all experiments by their parameters."),
    },
    "Share and tidy": {
        "export": ("_export", "Write tables, attachments, .solu and .trc, or an RO-Crate."),
        "push": ("_share", "Push an experiment to the registry of its name."),
        "pull": ("_share", "Fetch what the registry has under a name now."),
        "du": ("_du", "Show the room that experiments take, and what is theirs alone."),
        "prune": ("_prune", "Let go of old nights, superseded checkpoints and dead flow runs."),
    },
    "Seal": {
        "status": ("_seal", "Show what waits unsealed, and what `recover` would do about it."),
        "recover": ("_seal", "Seal every flow run that ended, or died, and was not sealed."),
        "seal": ("_seal", "Seal one flow run, or task run outside flows, now."),
    },
    "Look after": {
        "doctor": ("_doctor", "Show what would be used here: server, registry, stage, versions.")
    },
}
VERSIONS = ("ommx-prefect", "ommx", "prefect")


class LazyCommand(TyperCommand):
    """A command whose module is imported when it is called; until then, its line of help.

    Args:
        name: Its name; its function is `<name>_command`.
        module: The module of its function.
        summary: Its line in the help.
        panel: Its panel there.
    """

    def __init__(self, name: str, module: str, summary: str, panel: str) -> None:
        super().__init__(name, help=summary, rich_help_panel=panel)
        self._module = module

    def imported(self) -> Any:
        """Return the command itself."""
        module = importlib.import_module(f"{__name__}.{self._module}")
        only = typer.Typer(add_completion=False, rich_markup_mode="markdown")
        only.command(self.name)(getattr(module, f"{self.name}_command"))
        return typer.main.get_command(only)

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Parse the arguments of the command itself, which is what runs then."""
        return self.imported().make_context(*args, **options)


class Commands(TyperGroup):
    """The group of commands: an expected error is one line on stderr, and exit code 2."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for panel, commands in COMMANDS.items():
            for name, (module, summary) in commands.items():
                self.add_command(LazyCommand(name, module, summary, panel))

    def invoke(self, ctx: Any) -> Any:
        """Run a command as click does."""
        try:
            return super().invoke(ctx)
        except OmmxPrefectError as error:
            complain(error)
        except ImportError as error:  # an extra that is not installed
            complain(error)
        raise typer.Exit(2)


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
    """The program `ommx-prefect`."""
