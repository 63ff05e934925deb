"""What goes on around the nights: a report when one is sealed, recovery, and a weekly clean-up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from prefect import flow
from prefect.artifacts import create_link_artifact


def ommx_prefect(*arguments: str) -> str:
    """Run the command line, log what it says, and fail as it does.

    Raises:
        RuntimeError: It ended with another exit code than 0.
    """
    command = [sys.executable, "-m", "ommx_prefect", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr, sep="\n")
    if done.returncode:
        raise RuntimeError(f"ommx-prefect {arguments[0]} ended with {done.returncode}")
    return done.stdout


@flow(name="nightly-report", log_prints=True)
def report(image: str, folder: str = "reports") -> str:
    """Write the HTML page of a night; started by its event, which says the image.

    Args:
        image: Image name of the night.
        folder: Where reports are kept.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    path = Path(folder).resolve() / f"{image.rpartition(':')[2]}.html"
    ommx_prefect("report", image, "-o", str(path))
    create_link_artifact(path.as_uri(), link_text=path.name, key="nightly-report")
    return str(path)


@flow(name="nightly-recovery", log_prints=True)
def recovery(min_age: str = "10m") -> None:
    """Seal what no hook has sealed on this host, and tell Prefect of flow runs that are gone."""
    ommx_prefect("recover", "--min-age", min_age, "--mark-crashed")


@flow(name="nightly-prune", log_prints=True)
def prune(repository: str = "localhost/nightly", keep: int = 30, registry: str = "") -> None:
    """Let go of all but the last nights; `ommx.artifact.gc(delete=True)` frees their room.

    Args:
        repository: Whose nights go.
        keep: How many of them stay.
        registry: An OMMX Registry block, `ommx-registry/prod`, whose repository and retention
            count instead.
    """
    which = ["--registry", registry] if registry else [repository, "--keep", str(keep)]
    ommx_prefect("prune", *which, "--delete")


@flow(name="nightly-missing", log_prints=True)
def missing(hours: int = 26) -> None:
    """Say that no night was sealed for so long: a red flow run, which people see."""
    raise RuntimeError(f"no night was sealed for {hours} hours")
