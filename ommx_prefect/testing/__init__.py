"""Tests that your own store has to pass before flows can keep their records in it.

A store is a class with the four methods of `Store`: write, read, names and remove, over bytes. It
needs to import nothing of this package. Hold it to the contract with pytest, in a test module of
yours:

    import pytest
    from ommx_prefect.testing import StoreContract
    from my_package import RedisStore

    class TestRedisStore(StoreContract):
        @pytest.fixture
        def store(self):
            return RedisStore("redis://localhost/test")

Give the session a Local Registry of its own (`OMMX_LOCAL_REGISTRY_ROOT`), for the tests put small
experiments into it. Each test uses the name of a new flow run, so the store need not be empty.

To let flows use the store, register what opens it as an entry point of your package. The name is
the scheme of the stages that it opens, and the function is given the whole address:

    [project.entry-points."ommx_prefect.stores"]
    redis = "my_package:open_store"

Then `flow(stage="redis://localhost/shards")` keeps its records there, and `ommx-prefect recover`
and workers find them wherever the package is installed. Where a Prefect storage block already
reaches the place (`local-file-system`, `remote-file-system`, `s3-bucket`), no code is needed:
`flow(stage="s3-bucket/shards")`.
"""

from ommx_prefect._stages.store import ShardStore, Store
from ommx_prefect.testing._stage import StageContract
from ommx_prefect.testing._store import StoreContract

__all__ = ["ShardStore", "StageContract", "Store", "StoreContract"]
