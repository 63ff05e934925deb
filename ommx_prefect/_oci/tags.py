"""List the tags of a repository, page by page, up to a limit."""

from __future__ import annotations

import functools

import httpx

from ommx_prefect._oci.answers import Answer, parsed
from ommx_prefect._oci.names import is_tag
from ommx_prefect._oci.transport import Connection

TAGS_PER_PAGE = 1000
# A registry may make its pages smaller than it was asked for.
MOST_PAGES = 10_000
# Of all pages: some two million tags of records of a stage.
MOST_LIST_BYTES = 256 * 1024 * 1024


def list_tags(connection: Connection, prefix: str = "") -> list[str]:
    """Return all tags that start with a prefix, sorted (docker-registry 2.8 does not).

    Raises:
        RegistryError: An answer is no list of tags, or the list has no end.
    """
    found: set[str] = set()
    size = 0
    page: httpx.URL | str = f"tags/list?n={TAGS_PER_PAGE}"
    for _ in range(MOST_PAGES):
        get = functools.partial(connection.send, "GET", page, frozenset({200, 404}))
        answer = connection.retrying(get)
        if answer.status == 404:  # nothing was ever pushed to it
            break
        tags = _tags_of(connection, answer)
        size += len(answer.body)
        if size > MOST_LIST_BYTES:
            raise connection.error(f"its list of tags has more than {MOST_LIST_BYTES:,} bytes")
        is_new = not tags <= found
        found |= tags
        if not answer.next_page:
            break
        if not is_new:
            raise connection.error("its list of tags has no end")
        page = connection.address(answer, answer.next_page, of_registry=True)
    else:
        raise connection.error(f"its list of tags has more than {MOST_PAGES:,} pages")
    return sorted(tag for tag in found if tag.startswith(prefix))


def _tags_of(connection: Connection, answer: Answer) -> set[str]:
    try:
        tags = parsed(answer.body)["tags"] or ()
        if not isinstance(tags, (list, tuple)) or not all(isinstance(x, str) for x in tags):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise connection.error("its list of tags makes no sense") from None
    return {tag for tag in tags if is_tag(tag)}  # what is none cannot be asked for either
