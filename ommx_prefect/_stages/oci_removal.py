"""Remove manifests from a repository of a registry, with their tags.

docker-registry 2.8 looks at every tag of a repository for each manifest that it deletes, 18 s for a
thousand. So where there are many, tags are moved to tombstones first, and go with these, some at
once; without tags a manifest is deleted soon.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from ommx_prefect._format.model import MANIFEST_MEDIA_TYPE
from ommx_prefect._oci.names import digest_of
from ommx_prefect._oci.repository import Repository
from ommx_prefect._stages.oci_manifests import tombstone

# Of a repository whose manifests are deleted one by one, tags and all.
MOST_TAGS = 300
# Tags that go with one tombstone: on a slow disk, a thousand take longer than a request may.
TAGS_A_TOMBSTONE = 100


def remove(
    repository: Repository,
    pool: ThreadPoolExecutor,
    there: Collection[str],
    digests: Sequence[str],
    tags: Iterable[str],
) -> bool:
    """Remove manifests and tags.

    Args:
        repository: Where they are.
        pool: Does some requests at once.
        there: All tags of the repository.
        digests: The manifests.
        tags: Their tags, and others that are to go.

    Returns:
        Whether the registry allows it.
    """
    first, *others = digests or [""]
    if first and not repository.delete_manifest(first):
        return False
    if len(there) <= MOST_TAGS:
        list(pool.map(repository.delete_manifest, others))
        others = []
    if left := sorted(set(tags) & set(repository.tags())):
        _retag_and_delete(repository, pool, left)
    list(pool.map(repository.delete_manifest, others))
    return True


def _retag_and_delete(
    repository: Repository, pool: ThreadPoolExecutor, tags: Sequence[str]
) -> None:
    """Move tags to tombstones, and delete the tombstones with their tags."""
    tombstones = [(tombstone(), each) for each in _parts_of(tags)]
    put = functools.partial(repository.put_manifest, media_type=MANIFEST_MEDIA_TYPE)
    moved = [(tag, manifest) for manifest, each in tombstones for tag in each]
    list(pool.map(put, *zip(*moved, strict=True)))
    list(pool.map(repository.delete_manifest, [digest_of(manifest) for manifest, _ in tombstones]))


def _parts_of(tags: Sequence[str]) -> Iterator[Sequence[str]]:
    return (tags[x : x + TAGS_A_TOMBSTONE] for x in range(0, len(tags), TAGS_A_TOMBSTONE))
