"""Describe the machine, software and code version with which a flow run is executed."""

from __future__ import annotations

import importlib.metadata
import inspect
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil
from prefect.context import FlowRunContext

from ommx_prefect._shards.process import host_name
from ommx_prefect._solver.backends import BACKENDS

# Distributions whose versions are recorded: of the solvers, and of what is around them.
SOLVERS = tuple(package for backend in BACKENDS for package in backend.packages)
PACKAGES = ("ommx", "ommx-prefect", "prefect", *(x.distribution for x in BACKENDS), "numpy")
_GIT_SECONDS = 5.0


def environment_here() -> dict[str, Any]:
    """Return the known facts of the environment; unknown ones are left out."""
    memory = psutil.virtual_memory().total // 2**20
    found = {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "usable_cores": _usable_cores(),
        "memory_mb": memory,
        "os": platform.platform(),
        "python": platform.python_version(),
        "host": host_name(),
        "container": _container(),
        "solvers": _versions(SOLVERS),
        "packages": _versions(PACKAGES),
        "git": _git(_folder_of_flow()),
    }
    return {name: value for name, value in found.items() if value}


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _usable_cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _container() -> str:
    """Return the container image that the deployment names, or whether this is a container."""
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    image = (flow_run.job_variables or {}).get("image") if flow_run else None
    if isinstance(image, str):
        return image
    return "unknown image" if Path("/.dockerenv").exists() else ""


def _folder_of_flow() -> Path:
    context = FlowRunContext.get()
    try:
        return Path(inspect.getfile(inspect.unwrap(context.flow.fn))).parent  # type: ignore[union-attr]
    except (AttributeError, OSError, TypeError):
        return Path.cwd()


def _git(folder: Path) -> dict[str, Any]:
    commit = _git_output(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    changed = _git_output(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(changed)}


def _git_output(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    quiet = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_GIT_SECONDS, check=False, env=quiet
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
