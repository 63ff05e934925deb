"""Store the Experiment of one attempt in the Local Registry without a name.

Every name in the registry makes each later `commit()` slower (OMMX 3.0.0b7: 1.2 ms with an empty
registry, 7 ms with 10,000 names), so an attempt's Experiment is stored without one.
"""

from __future__ import annotations

import functools
import re
import threading
import uuid

from ommx.artifact import ArtifactDraft, remove_image
from ommx.experiment import AutosavePolicy, Experiment

from ommx_prefect._format.model import Documents
from ommx_prefect._registry.blobs import read_documents, registry_root
from ommx_prefect._registry.names import OUR_NAMES, find
from ommx_prefect.exceptions import DocumentError

# The name on which every unnamed Experiment is refused. It holds an artifact of no Experiment's
# type, so that `list_experiments()` shows the user's own alone.
RESERVED_NAME = f"{OUR_NAMES}reserved:unnamed"
_REFUSAL = re.compile(r"manifest (sha256:[0-9a-f]{64}) was not published")
_reserved = threading.Lock()
_can_refuse: bool | None = None


def open_experiment(*, store_trace: bool = False) -> Experiment:
    """Open an Experiment that `store` will put into the registry."""
    name = RESERVED_NAME if _refusals_tell_digests() else _scratch_name()
    experiment = Experiment(name, store_trace=store_trace)
    experiment.set_autosave_policy(AutosavePolicy.disabled())
    return experiment


def store(experiment: Experiment) -> Documents:
    """Store a closed Experiment in the registry under no name, and return its documents.

    OMMX has no commit without a name. Committing to a name that is taken stores every blob and
    then refuses the name, with the manifest's digest in the refusal: one SQLite transaction less
    than commit and remove, and no growing list of names. `_refusals_tell_digests` checks once per
    process that this OMMX does so; otherwise the name is committed and removed again.
    """
    if experiment.image_name == RESERVED_NAME:
        return _documents(_refused_digest(experiment))
    experiment.commit()
    return read_documents(remove_image(experiment.image_name, root=registry_root()) or "")


# What nobody logged anything on is the same Experiment again and again.
_documents = functools.lru_cache(maxsize=16)(read_documents)


def _refused_digest(experiment: Experiment) -> str:
    try:
        experiment.commit()
    except RuntimeError as refusal:
        found = _REFUSAL.search(str(refusal))
        if found is None:
            raise
        return found[1]
    raise RuntimeError(f"{RESERVED_NAME} is not reserved any more")


def _refusals_tell_digests() -> bool:
    global _can_refuse
    if _can_refuse is None:
        with _reserved:
            if _can_refuse is None:
                _can_refuse = _try_refusal()
    return _can_refuse


def _try_refusal() -> bool:
    if find(RESERVED_NAME) is None:
        _reserve(RESERVED_NAME)
    probe = Experiment(RESERVED_NAME)
    probe.set_annotation("org.ommx-prefect.probe", uuid.uuid4().hex)
    try:
        read_documents(_refused_digest(probe))
    except (RuntimeError, DocumentError):
        return False
    return True


def _reserve(name: str) -> None:
    draft = ArtifactDraft.new(name)
    draft.add_json({"reserved": "ommx_prefect stores Experiments without a name by this one"})
    try:
        draft.commit()
    except RuntimeError:  # another process was first
        if find(name) is None:
            raise


def _scratch_name() -> str:
    return f"{OUR_NAMES}scratch:{uuid.uuid4().hex}"
