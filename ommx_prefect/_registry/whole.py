"""Open an experiment that was sealed in parts as one, in the Local Registry.

What OMMX opens is an experiment composed anew of the documents of the parts. Its manifest is larger
than a registry takes; the Local Registry takes every size, and has it under a name of ours
(`ommx-prefect.local/whole:...`). Payload is not copied. OMMX reads all of it once, to check it; the
next time, the experiment is opened by that name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ommx.artifact import restore_image
from ommx.experiment import Experiment

from ommx_prefect._format.compose import compose
from ommx_prefect._format.decode import decode
from ommx_prefect._format.model import Documents, hex_of, sha256_digest
from ommx_prefect._format.parts import PARTS, PartPlace, join
from ommx_prefect._registry.blobs import blob_path, read_documents, registry_root, store_blob
from ommx_prefect._registry.names import canonical_name, checkpoint_name, find
from ommx_prefect._registry.parts import WHOLES, forget_stale_wholes, places_in
from ommx_prefect.exceptions import DocumentError, UnknownImageError

TAG_LETTERS = 63


def require_experiment(experiment: object) -> None:
    """Raise a TypeError that says what to do where a caller gives something else, as its name."""
    if not isinstance(experiment, Experiment):
        raise TypeError(
            f"{experiment!r:.200} is no Experiment. Pass what ommx_prefect.load_experiment(name) "
            "returns"
        )


def whole(experiment: Experiment, digest: str = "") -> Experiment:
    """Return an experiment with all its Runs; an index of parts is composed with them.

    Parts that are not here are fetched from the repository of its name, by digest.

    Args:
        experiment: A sealed experiment of the Local Registry.
        digest: The digest of its manifest, where the caller knows it.

    Raises:
        DocumentError: A part is damaged, or cannot be had.
        TypeError: It is no experiment, but its name for example.
    """
    require_experiment(experiment)
    if PARTS not in experiment.annotations:
        return experiment
    name = experiment.image_name
    digest = digest or _digest_of(name)
    places = places_in(digest)
    if not places:
        return experiment
    composed = f"{WHOLES}{name.rpartition(':')[2][:TAG_LETTERS]}-{hex_of(digest)}"
    if find(composed) is None:
        fetch_parts(name, places)
        _compose(digest, places, composed)
    return Experiment.load(composed)


def load_image(image_name: str) -> Experiment:
    """Open the experiment of an image name with all Runs: here, its checkpoint, or its registry's.

    Args:
        image_name: `registry/repository:tag`, or `registry/repository@sha256:...`.

    Raises:
        UnknownImageError: Nothing can be opened under it.
    """
    try:
        name = image_name if "@" in image_name else canonical_name(image_name)
        here = [] if "@" in name else [name, checkpoint_name(name)]
        stored = next((x for x in here if find(x)), name)
        return whole(Experiment.load(stored))
    except (RuntimeError, ValueError) as error:
        raise UnknownImageError(image_name, " ".join(str(error).split())) from error


def _digest_of(name: str) -> str:
    found = name.rpartition("@")[2] if "@" in name else find(name)
    if found is None:
        raise DocumentError(f"{name} has no name in the Local Registry any more; open it again")
    return found


def fetch_parts(name: str, places: Sequence[PartPlace]) -> None:
    """Fetch the parts of an experiment that the Local Registry lacks.

    Args:
        name: The image name of the experiment.
        places: Where its parts are.

    Raises:
        DocumentError: One cannot be had.
    """
    repository = name.partition("@")[0] if "@" in name else name.rpartition(":")[0]
    for place in places:
        if blob_path(place.digest).exists():
            continue
        try:
            Experiment.load(f"{repository}@{place.digest}")  # OMMX checks every digest
        except (RuntimeError, ValueError) as error:
            said = " ".join(str(error).split())
            reason = f"its part {place.tag} ({place.digest}) is not here: {said}"
            raise DocumentError(reason) from error


def _compose(digest: str, places: Sequence[PartPlace], name: str) -> None:
    """Store the composed experiment under a name; without a subject, for the index has that."""
    parts = [decode(read_documents(place.digest)) for place in places]
    joined = join(decode(read_documents(digest)), places, parts)
    found = dataclasses.replace(joined, subject=None, requested_image_name=None)
    documents = compose(found).documents
    _store(documents)
    restore_image(name, documents.digest, root=registry_root())
    forget_stale_wholes()


def _store(documents: Documents) -> None:
    for data in (documents.parameters, documents.config, documents.manifest):
        store_blob(sha256_digest(data), data)


def content_of(experiment: Experiment, digest: str) -> str:
    """Return the digest of the manifest in which the Runs of what `whole` has returned are.

    Args:
        experiment: What it has returned.
        digest: The digest of what was given to it.
    """
    name = experiment.image_name
    return find(name) or digest if name.startswith(WHOLES) else digest
