"""How one attempt of a task becomes one shard.

`RecordingOptions` is named here, for tasks that release 0.1 pickled refer to it by this path.
"""

from ommx_prefect._prefect.loaded_blocks import watch_loaded_blocks
from ommx_prefect._recording.current import note_here
from ommx_prefect._recording.forked_runs import refuse_in_forks
from ommx_prefect._recording.loaded_secrets import learn_loaded
from ommx_prefect._recording.log_solve import keep_inputs
from ommx_prefect._recording.options import RecordingOptions
from ommx_prefect._workarounds.notices import listen

__all__ = ["RecordingOptions"]

# Where nothing of this package is imported, nothing is recorded, and nobody needs these.
listen(note_here)
watch_loaded_blocks(learn_loaded)
keep_inputs()
refuse_in_forks()
