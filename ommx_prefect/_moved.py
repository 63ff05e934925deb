"""Keep old module paths importable, which pickled flows and persisted results still name.

Release 0.1 had all modules in one folder. What it pickled refers to these by module and name.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# The old path -> the module that has its names now: of all that users import, for their functions
# are pickled by value with references to what they use, and of what wrappers and hooks refer to.
MOVED = {
    "_backends": "_solver.backends",
    "_cached": "_decorators.cached",
    "_checkpoint": "_recording.checkpoint",
    "_codec_registry": "codecs._registry",
    "_current": "_recording.current",
    "_experiment": "_decorators.flow_experiment",
    "_figure_codecs": "codecs._figures",
    "_flow": "_decorators.flow",
    "_hooks": "_decorators.hooks",
    "_image_name": "_flowrun.image_name",
    "_instance_digest": "instances._digest",
    "_json_codec": "codecs._json",
    "_outcomes": "_solver.errors",
    "_rolled_back": "_recording.rollback",
    "_seal": "_reporting.seal",
    "_sealed": "_sealing.result",
    "_secrets": "_values.secrets",
    "_solve_parameters": "solvers._parameters",
    "_solving": "solvers._solve",
    "_steps": "_decorators.generators",
    "_table_codecs": "codecs._tables",
    "_task": "_decorators.task",
    "_wrap": "_decorators.wrap",
}


class _OldPaths(MetaPathFinder, Loader):
    """Import hook that finds a module under its old path, when that is first imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        old = fullname.removeprefix(f"{__package__}.")
        return ModuleSpec(fullname, self) if old in MOVED and old != fullname else None

    def exec_module(self, module: ModuleType) -> None:
        new = MOVED[module.__name__.removeprefix(f"{__package__}.")]
        sys.modules[module.__name__] = importlib.import_module(f"{__package__}.{new}")


def keep_old_paths() -> None:
    """Let the old paths resolve, to the module that has their names now."""
    if not any(isinstance(each, _OldPaths) for each in sys.meta_path):
        sys.meta_path.append(_OldPaths())
