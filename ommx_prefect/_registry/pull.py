"""Pull the current image of a name from a container registry, ignoring what is cached here."""

from __future__ import annotations

from ommx.experiment import Experiment

from ommx_prefect._oci.names import split_name
from ommx_prefect._oci.repository import Repository
from ommx_prefect._registry.names import canonical_name
from ommx_prefect._registry.whole import whole
from ommx_prefect.exceptions import NotInRegistryError, RegistryError

# So many tags are named where the one that was asked for is not there.
MOST_TAGS = 5


def pull_experiment(image_name: str) -> Experiment:
    """Open the experiment that an image name points to in its container registry at this moment.

    `Experiment.load` (OMMX 3.0.0b7) takes the Local Registry's copy of a name where there is one,
    so that a moving tag such as `latest` is read once and then never again. This asks the registry
    for the digest of the tag, and loads by digest: blobs that are here are not fetched again, and
    no name of the Local Registry changes. One that was sealed in parts is opened as one.

    Args:
        image_name: `registry/repository:tag`, such as `ghcr.io/acme/nightly:latest`.

    Raises:
        InvalidImageNameError: It is no such name.
        NotInRegistryError: The registry does not have it.
        RegistryError: The registry does not answer, or does not let us in.
    """
    return whole(pull_index(image_name))


def pull_index(image_name: str) -> Experiment:
    """Open the same image as it is: of an experiment in parts, its index, which has no Runs."""
    where = split_name(canonical_name(image_name))
    with Repository(where.registry, where.repository) as repository:
        digest = repository.find_manifest(where.tag)
        if digest is None:
            why = f"it has no tag {where.tag!r}{_instead(repository)}"
            raise NotInRegistryError(where.registry, where.repository, why)
    return Experiment.load(f"{where.registry}/{where.repository}@{digest}")


def _instead(repository: Repository) -> str:
    """Suggest tags that exist; the last by name are the newest nights."""
    try:
        tags = repository.tags()[-MOST_TAGS:]
    except RegistryError:  # not every registry tells, and not everyone
        return ""
    return f", but {', '.join(reversed(tags))}" if tags else ""
