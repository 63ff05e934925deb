"""Share experiments: `push` and `pull`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import typer

from ommx_prefect._flowrun.image_name import OFFICIAL, place_in_docker_hub
from ommx_prefect._oci.image_name import with_suffix, with_tag
from ommx_prefect._oci.names import is_tag
from ommx_prefect._registry.names import canonical_name, find, move_names
from ommx_prefect._registry.parts import places_in
from ommx_prefect._registry.pull import pull_index
from ommx_prefect._registry.whole import fetch_parts
from ommx_prefect._sealing.push import push_image
from ommx_prefect.cli._options import AsJson, Image, completed
from ommx_prefect.cli._output import print_json, refused, say
from ommx_prefect.cli._registry import open_here, require_place
from ommx_prefect.cli._waiting import working
from ommx_prefect.exceptions import InvalidImageNameError

RemoteImage = Annotated[
    str,
    typer.Argument(
        metavar="IMAGE",
        autocompletion=completed,
        help="Image name, registry/repository:tag; without a tag, latest.",
    ),
]
IS_FLOW_RUN_ID = re.compile("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def push_command(
    image: Image,
    to: Annotated[
        str | None, typer.Option("--to", help="Push under this image name instead.")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="One more tag, such as latest.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Push an experiment to the registry of its name; what is there is not sent again.

    One that failed or was interrupted goes to a tag that says so, such as `...-failed`.
    """
    to = _named(to, "--to ") if to else None
    _require_tags(tag or ())
    opened = open_here(image)
    status = opened.experiment.status or "finished"
    name = opened.name if status == "finished" else with_suffix(opened.name, status)
    name = to or name
    with working(f"pushing {name}"):
        push_image(name, opened.digest, tag or ())
    if as_json:
        print_json({"image": name, "digest": opened.digest, "tags": tag or []})
    else:
        also = f", also as {', '.join(tag)}" if tag else ""
        say(f"Pushed {name} {opened.digest}{also}")


def _named(text: str, what: str = "") -> str:
    """Return the image name that somebody wrote, which has to say a registry."""
    how = "Write registry/repository:tag, the repository in lower case"
    if IS_FLOW_RUN_ID.fullmatch(text):
        raise refused(f"{what}{text!r} is the id of a flow run, which says no registry. {how}")
    try:
        name = canonical_name(text)
    except InvalidImageNameError as error:
        why = f"{error.reason}. {how}"
        raise refused(f"{what}{text!r} is no image name: {why}") from error
    if (place := place_in_docker_hub(text, name)) == OFFICIAL:
        why = f"names no registry, which makes it {name}, {place}"
        raise refused(f"{what}{text!r} {why}. {how}")
    return name


def _require_tags(tags: Sequence[str]) -> None:
    """Refuse what is no tag before anything is sent."""
    for tag in tags:
        if not is_tag(tag):
            letters = "up to 128 of A-Z, a-z, 0-9, '_', '.', '-', and neither of the last two first"
            raise refused(f"--tag {tag!r} is no tag: write {letters}")


def pull_command(image: RemoteImage, as_json: AsJson = False) -> None:
    """Fetch what the registry has under a name now, and give the name here to it."""
    require_place()
    name = _named(image)
    before = find(name)
    with working(f"pulling {name}"):
        digest = pull_index(name).image_name.rpartition("@")[2]
        places = places_in(digest)
        fetch_parts(name, places)
        for place in places:  # before the name that people ask for
            part = with_tag(name, place.tag)
            move_names(place.digest, {part: find(part)})
        if digest != before:
            move_names(digest, {name: before})
    if as_json:
        print_json({"image": name, "digest": digest, "before": before})
        return
    moved = f"; it was {before}" if before not in (None, digest) else ""
    say(f"{name} is {digest} here{moved}")
