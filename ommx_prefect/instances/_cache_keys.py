"""Make Prefect's cache keys of instances depend on their digest."""

from __future__ import annotations

from ommx import Instance, ParametricInstance
from prefect.cache_policies import STABLE_TRANSFORMS

from ommx_prefect.instances._digest import instance_digest


def register_cache_keys() -> None:
    """Let Prefect's `INPUTS` cache policy see instances by their digest.

    Prefect looks up the type of every task argument in `STABLE_TRANSFORMS` before it hashes it, for
    values whose pickles are not stable. Instances inside lists or dicts are not looked up.
    """
    STABLE_TRANSFORMS[Instance] = instance_digest
    STABLE_TRANSFORMS[ParametricInstance] = instance_digest
