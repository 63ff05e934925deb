"""Push a sealed experiment from the Local Registry to the registry of its name.

It is pushed after its local seal, which no failing push can undo. `sealed.json` says whether it
was; a process that dies in between leaves it unsaid, and the next seal of the flow run pushes what
is not known to be pushed; the registry has each blob once.

OMMX can push too (3.0.0b7). It is not used here because it holds the interpreter's lock for the
whole push and waits without a limit: a registry that accepts the connection and says nothing
stops every thread of the process and Ctrl-C with them. It also does not try again, and a wrong
password, a registry that is down and a missing blob are all the same RuntimeError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ommx_prefect._flowrun.registry import credentials_for, load_registry
from ommx_prefect._format.decode import manifest_of
from ommx_prefect._format.model import MANIFEST_MEDIA_TYPE
from ommx_prefect._oci.credentials import Credentials
from ommx_prefect._oci.image_name import with_tag
from ommx_prefect._oci.names import check_manifest_size, split_name
from ommx_prefect._oci.repository import Repository
from ommx_prefect._oci.upload import push_blobs
from ommx_prefect._prefect.api import find_flow_of
from ommx_prefect._prefect.log import inform, warn
from ommx_prefect._registry.blobs import blob_path, read_blob
from ommx_prefect._registry.names import find, opening_line
from ommx_prefect._registry.parts import places_in
from ommx_prefect._sealing.result import PreviousSeal, SealedExperiment, write_sealed
from ommx_prefect._settings import OmmxSettings
from ommx_prefect._stages.documents import FlowRecord
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._targets.annotations import FLOW_NAME, FLOW_RUN_ID
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect.exceptions import DocumentError, NotInRegistryError, RegistryError


def push_if_wanted(stage: Stage, record: FlowRecord, published: PreviousSeal) -> SealedExperiment:
    """Push an experiment, unless it is there; keep and return how it went.

    A finished one is pushed under its name, with its aliases. One that failed or was interrupted is
    a checkpoint in the Local Registry, and its name is not advanced, here or elsewhere: it is
    pushed under a tag that says so, so that a failed night reaches people as well.
    """
    sealed = published.sealed
    if not record.push or sealed.pushed:
        return sealed
    problem = _push(stage, record, sealed)
    answer = replace(sealed, pushed=not problem, push_problem=problem)
    write_sealed(stage, answer, published.keys)
    return answer


def _push(stage: Stage, record: FlowRecord, sealed: SealedExperiment) -> str:
    """Push, and return what went wrong; empty where nothing did."""
    is_own, aliases = stage.is_own(), _aliases_of(record, sealed)
    try:
        if not is_own:
            _check_registry(stage, sealed.remote_name)
            _check_free(record, sealed.remote_name, aliases)
        push_image(
            sealed.remote_name,
            sealed.manifest_digest,
            aliases,
            _credentials_of(record, sealed.remote_name) if is_own else None,
        )
    except Exception as error:  # whatever it was, the experiment is sealed
        problem = describe_error(error)
        warn(f"{sealed.remote_name} is sealed here, but not pushed: {problem}")
        return problem
    opens_with = opening_line(sealed.remote_name, in_parts=bool(sealed.parts))
    inform(f"Pushed {sealed.remote_name}. Open it: {opens_with}")
    return ""


def _credentials_of(record: FlowRecord, name: str) -> Credentials | None:
    """Return the credentials of the block that a flow run of this host names.

    A record that another host wrote may name any block: it gets what this machine knows itself.
    """
    return credentials_for(record.registry, split_name(name).registry)


def _check_registry(stage: Stage, name: str) -> None:
    """Raise RegistryError unless this host has reasons of its own to speak to a registry.

    For a record that another host wrote: whoever writes to the stage may have chosen it. A signed
    record is as good as this host's own; with the stage's registry, and that of its Prefect
    settings, this host speaks anyway.
    """
    where, settings = split_name(name), OmmxSettings()
    if settings.stage_key.get_secret_value() or stage.serves(name):
        return
    if settings.registry and load_registry(settings.registry).registry == where.registry:
        return
    reason = (
        "this host did not start the flow run, and its record is not signed: whoever writes to "
        f"the stage may have chosen the registry. Push it by: ommx-prefect push {name}"
    )
    raise RegistryError(where.registry, where.repository, reason)


def _check_free(record: FlowRecord, name: str, tags: Sequence[str]) -> None:
    """Raise RegistryError where a name to push is another flow's there, or no experiment's.

    For a record that another host wrote: whoever writes to the stage may have changed the name.
    """
    where = split_name(name)
    flow = find_flow_of(record.flow_run_id)
    with Repository(where.registry, where.repository) as repository:
        for tag in (where.tag, *tags):
            found = _annotations_of(repository, tag)
            is_its_own = found is None or found.get(FLOW_RUN_ID) == record.flow_run_id
            if not is_its_own and not (flow and found and found.get(FLOW_NAME) == flow):
                reason = (
                    f"its tag {tag!r} is no experiment of this flow, and this host did not start "
                    "the flow run; push it from the host that did"
                )
                raise RegistryError(where.registry, where.repository, reason)


def _annotations_of(repository: Repository, tag: str) -> Mapping[str, str] | None:
    """Return the annotations of an experiment that a registry has, or None without any image."""
    try:
        manifest = repository.get_manifest(tag)
    except NotInRegistryError:
        return None
    try:
        return manifest_of(manifest).get("annotations") or {}
    except DocumentError:  # an image of something else
        return {}


def _aliases_of(record: FlowRecord, sealed: SealedExperiment) -> list[str]:
    """Return the aliases to push; one that a later flow run has here is not taken from it there."""
    names = {tag: with_tag(sealed.image_name, tag) for tag in record.aliases}
    return [tag for tag, name in names.items() if find(name) == sealed.manifest_digest]


def push_image(
    name: str, digest: str, tags: Sequence[str] = (), credentials: Credentials | None = None
) -> None:
    """Push an image of the Local Registry, blobs first and names last.

    What the registry has already is not sent again. Of an experiment in parts, they come first.

    Args:
        name: Its canonical image name, which says where to.
        digest: Its manifest's digest.
        tags: More tags of the same repository to point to it.
        credentials: To use instead of what this machine knows.

    Raises:
        ManifestTooLargeError: The registry would refuse it; nothing was sent.
        RegistryError: It was not pushed; no name was moved before all blobs were there.
        DocumentError: The Local Registry has lost its manifest.
    """
    where = split_name(name)
    parts = {place.digest: (place.tag,) for place in places_in(digest)}
    images = {**parts, digest: (where.tag, *tags)}  # the index last: its parts are there then
    for each in images:
        manifest = read_blob(each)
        check_manifest_size(manifest, len(manifest_of(manifest)["layers"]))
    with Repository(where.registry, where.repository, credentials) as repository:
        for each, its_tags in images.items():
            _push_one(repository, read_blob(each), its_tags)


def _push_one(repository: Repository, manifest: bytes, tags: Sequence[str]) -> None:
    document = manifest_of(manifest)
    # One blob by itself: a registry that is down or refuses us is found once, not four times.
    config = document["config"]["digest"]
    repository.push_blob(blob_path(config), config)
    layers = [layer["digest"] for layer in document["layers"]]
    push_blobs(repository, {digest: blob_path(digest) for digest in layers})
    for tag in tags:
        repository.put_manifest(tag, manifest, MANIFEST_MEDIA_TYPE)
