"""Open an experiment by image name, digest, or id of a flow run.

A finished night is found under its name, a failed one as the checkpoint that OMMX keeps for that
name, and a name without a tag means the newest of its repository. What the Local Registry does not
have is fetched from the registry of its name.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ommx.artifact import (
    RemoteArtifactAuthenticationError,
    RemoteArtifactAuthorizationError,
    RemoteArtifactNotFoundError,
    RemoteArtifactTransportError,
)
from ommx.experiment import Experiment, list_experiment_checkpoints, list_experiments

from ommx_prefect._format.parts import PartPlace
from ommx_prefect._registry.blobs import read_blob, registry_root
from ommx_prefect._registry.names import (
    OUR_NAMES,
    canonical_name,
    checkpoint_name,
    find,
    load_annotated,
    opening_line,
)
from ommx_prefect._registry.parts import is_part, places_in
from ommx_prefect._registry.whole import content_of, whole
from ommx_prefect._stages.documents import read_flow_record
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._targets.annotations import FLOW_RUN_ID
from ommx_prefect.exceptions import DocumentError, InvalidImageNameError, UnknownImageError

# Names of these hosts are nowhere but in a Local Registry.
LOCAL_HOST = re.compile(r"(^|\.)(local|localdomain|invalid)$")
HINTS = 3
_DIGEST = re.compile("(^|@)sha256:[0-9a-f]{64}$")
# What OMMX raises where a registry was asked -> what it means.
REMOTE_ERRORS: dict[type[Exception], str] = {
    RemoteArtifactNotFoundError: "nor does {host} have it",
    RemoteArtifactAuthenticationError: "and {host} does not let us in: docker login {host}",
    RemoteArtifactAuthorizationError: "and {host} does not let us read it: docker login {host}",
    RemoteArtifactTransportError: "and {host} cannot be reached (no network?)",
}


@dataclass(frozen=True)
class Opened:
    """An experiment that was opened, with the names by which it is known.

    Attributes:
        name: What people know it by: of a checkpoint the name that was asked for.
        stored_name: Its name in the Local Registry.
        digest: Digest of its manifest.
        experiment: It, sealed; where it was sealed in parts, with all its Runs.
    """

    name: str
    stored_name: str
    digest: str
    experiment: Experiment

    @classmethod
    def of(
        cls, name: str, stored_name: str, digest: str = "", opened: Experiment | None = None
    ) -> Opened:
        """Open what the Local Registry, or a container registry, has under a name.

        Args:
            name: What people know it by.
            stored_name: The name.
            digest: What it points to, where the caller knows it.
            opened: It, where the caller has opened it.
        """
        opened = opened or Experiment.load(stored_name)
        digest = digest or find(stored_name) or ""
        return cls(name, stored_name, digest, whole(opened, digest))

    @cached_property
    def parts(self) -> tuple[PartPlace, ...]:
        """The parts in which it was sealed; none where it has one manifest."""
        return places_in(self.digest) if self.digest else ()

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """The OCI manifest with its Runs: of one in parts, the manifest composed of them all."""
        return _json(content_of(self.experiment, self.digest))

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """OMMX's config of it, which says what each layer is."""
        return _json(self.manifest["config"]["digest"])

    @property
    def is_checkpoint(self) -> bool:
        """Tell whether it is a checkpoint, as OMMX keeps of an experiment that did not finish."""
        return self.name != self.stored_name

    @property
    def opens_with(self) -> str:
        """The line of plain `ommx` that opens it; of one in parts, the line of this package."""
        return opening_line(self.name, is_checkpoint=self.is_checkpoint, in_parts=bool(self.parts))


def open_image(text: str) -> Opened:
    """Open an experiment by whatever a user wrote: a name, a digest, or the id of a flow run.

    Args:
        text: An image name, one without a tag for the newest of a repository,
            `repository@sha256:...` or `sha256:...`, or Prefect's id of a flow run.

    Raises:
        UnknownImageError: There is none, it is out of reach, or it is no experiment.
    """
    try:
        return _of_flow_run(text) or _here(text) or _elsewhere(text)
    except InvalidImageNameError as error:
        raise UnknownImageError(text, f"this is no image name: {error.reason}") from error
    except tuple(REMOTE_ERRORS) as error:
        said = next(said for kind, said in REMOTE_ERRORS.items() if isinstance(error, kind))
        why = f"{_missing()}, {said.format(host=_host(text))}.{_hint(text)}"
        raise UnknownImageError(text, why) from error
    except (RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())
        why = "it is no experiment" if "artifact type" in said else "it cannot be read"
        raise UnknownImageError(text, f"{why}: {said}") from error


def id_in(text: str) -> str | None:
    """Return the id of a flow run that a text is, in the usual spelling; None if it is none."""
    try:
        return str(uuid.UUID(text.strip()))
    except ValueError:
        return None


def _root_of(flow_run_id: str) -> str:
    """Return the flow run whose experiment a subflow belongs to, as far as this machine knows."""
    with contextlib.suppress(DocumentError):  # a damaged one says nothing, and need not
        if record := read_flow_record(LocalStage(flow_run_id)):
            return record.root_flow_run_id
    return flow_run_id


def _of_flow_run(text: str) -> Opened | None:
    if (flow_run_id := id_in(text)) is None:
        return None
    experiment = load_annotated(FLOW_RUN_ID, _root_of(flow_run_id))
    if experiment is None:
        raise UnknownImageError(text, f"nothing in {registry_root()} is of this flow run")
    name = experiment.image_name
    return Opened.of(_asked_for().get(name, name), name, opened=experiment)


def _here(text: str) -> Opened | None:
    """Open what the Local Registry has under a name, or under the newest one of its repository."""
    if _DIGEST.search(text):
        return _of_digest(text)
    name = canonical_name(text)
    # Not `latest` first: where the last night failed, that is an earlier one.
    candidates = [name] if _has_tag(text) else [*_newest(name.rpartition(":")[0]), name]
    for each in candidates:
        for stored in (each, checkpoint_name(each)):
            found = find(stored)
            if found is not None:
                return Opened.of(each, stored, found)
    return None


def _of_digest(text: str) -> Opened:
    """Open the experiment or checkpoint that has this digest, whatever its name; else fetch it."""
    repository, _, digest = text.rpartition("@")
    known = [(x.manifest_digest, x.image_name, x.image_name) for x in list_experiments()]
    known += [
        (x.manifest_digest, x.requested_image_name, x.checkpoint_image_name)
        for x in list_experiment_checkpoints()
    ]
    found = [(name, stored) for each, name, stored in known if each == digest]
    # Several names may point to it: one of the repository that was asked for comes first.
    found.sort(key=lambda each: not (repository and each[0].startswith(f"{repository}:")))
    if found:
        name, stored = found[0]
        return Opened.of(name, stored, digest)
    if not repository:
        why = f"nothing in {registry_root()} has this digest; repository@{digest} is fetched"
        raise UnknownImageError(text, why)
    return Opened.of(text, text, digest)


def _elsewhere(text: str) -> Opened:
    """Fetch from the registry of a name."""
    name = canonical_name(text)
    if LOCAL_HOST.search(name.partition("/")[0]):
        raise UnknownImageError(name, f"{_missing()}.{_hint(name)}")
    return Opened.of(name, name)


def _host(text: str) -> str:
    return canonical_name(text.partition("@")[0]).partition("/")[0]


def _missing() -> str:
    return f"the Local Registry {registry_root()} does not have it"


def _has_tag(text: str) -> bool:
    return ":" in text.rpartition("/")[2]


def _newest(repository: str) -> list[str]:
    """Return the name of the newest experiment or checkpoint of a repository, if there is one."""
    refs = (ref for ref in list_experiments(f"{repository}:") if not is_part(ref.annotations))
    known = [(ref.updated_at, ref.image_name) for ref in refs]
    known += [
        (ref.updated_at, ref.requested_image_name)
        for ref in list_experiment_checkpoints(f"{repository}:")
    ]
    return [max(known)[1]] if known else []


def _asked_for() -> dict[str, str]:
    """Return the names that were asked for, by the names of their checkpoints."""
    return {x.checkpoint_image_name: x.requested_image_name for x in list_experiment_checkpoints()}


def known_names(prefix: str = "") -> list[str]:
    """Return the names of all experiments and checkpoints here, as people know them."""
    names = {ref.image_name for ref in list_experiments() if not is_part(ref.annotations)}
    names |= {ref.requested_image_name for ref in list_experiment_checkpoints()}
    return sorted(x for x in names if x.startswith(prefix) and not x.startswith(OUR_NAMES))


def _hint(name: str) -> str:
    near = difflib.get_close_matches(name, known_names(), n=HINTS, cutoff=0.5)
    return f" Did you mean {', '.join(near)}?" if near else " `ommx-prefect list` has what is here."


def _json(digest: str) -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(read_blob(digest))
    return document
