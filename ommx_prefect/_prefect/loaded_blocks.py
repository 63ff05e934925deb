"""Track the Prefect blocks loaded in this process, since what they hold may be secret.

Prefect (3.8.0 to 3.9.1) tells nobody that a block was loaded. All its ways to load one end in one
classmethod of `Block`, which is wrapped here; where a release of Prefect has no such method, blocks
that a task loads itself are not known.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

from prefect.blocks.core import Block

METHOD = "_load_from_block_document"
WATCHED = "__ommx_prefect_watched__"


def watch_loaded_blocks(told: Callable[[Block], None]) -> bool:
    """Call a listener for every block loaded from now on; return whether that is possible."""
    original = getattr(Block.__dict__.get(METHOD), "__func__", None)
    if original is None or hasattr(original, WATCHED):
        return original is not None

    @functools.wraps(original)
    def loaded(cls: type[Block], *args: Any, **kwargs: Any) -> Any:
        block = original(cls, *args, **kwargs)
        with contextlib.suppress(Exception):  # a block is the user's, whatever it is asked
            told(block)
        return block

    setattr(loaded, WATCHED, True)
    setattr(Block, METHOD, classmethod(loaded))
    return True
