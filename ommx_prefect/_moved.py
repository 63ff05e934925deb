"""Old module paths, which pickled flows, delayed tasks and persisted results still name.

Release 0.1 had all modules in one folder. What it pickled refers to these by module and name.
"""

from __future__ import annotations

import importlib
import sys

# The old path -> the module that has its names now.
MOVED = {
    "_cached": "_decorators.cached",
    "_flow": "_decorators.flow",
    "_hooks": "_decorators.hooks",
    "_image_name": "_flowrun.image_name",
    "_rolled_back": "_recording.rollback",
    "_sealed": "_sealing.result",
    "_solve_parameters": "solvers._parameters",
    "_steps": "_decorators.generators",
    "_task": "_decorators.task",
    "_wrap": "_decorators.wrap",
}


def keep_old_paths() -> None:
    """Let the old paths resolve: import every module that has moved, and name it by both."""
    for old, new in MOVED.items():
        sys.modules[f"{__package__}.{old}"] = importlib.import_module(f"{__package__}.{new}")
