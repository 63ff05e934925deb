"""How one attempt of a task becomes one shard.

`RecordingOptions` is named here, for tasks that release 0.1 pickled refer to it by this path.
"""

from ommx_prefect._recording.options import RecordingOptions

__all__ = ["RecordingOptions"]
