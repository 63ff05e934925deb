"""Find the earlier nights of a series that stand in the OCI registry of its stage.

The Local Registry lists none of them. What their manifests say is asked of the registry, whichever
host composed or pushed them: of the tags that a person would look at, which begin with a time
before this night, and of the others by name. What the stages of this host remember is looked at,
too: a registry may refuse to list, and a deployment may have had another repository before.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ommx.experiment import Experiment

from ommx_prefect._flowrun.image_name import TIME_FORMAT
from ommx_prefect._format.decode import descriptor_of, manifest_of
from ommx_prefect._format.model import MANIFEST_MEDIA_TYPE, Descriptor, sha256_digest
from ommx_prefect._format.strict_json import strict_json
from ommx_prefect._prefect.log import warn
from ommx_prefect._sealing.lineage import Series, repository_of, time_of
from ommx_prefect._sealing.result import read_previous
from ommx_prefect._stages.documents import read_flow_record
from ommx_prefect._stages.local import LocalStage
from ommx_prefect._stages.protocol import Stage
from ommx_prefect._stages.resolve import stage_at
from ommx_prefect._stages.roots import stage_root
from ommx_prefect._stages.store import READERS, GoneError
from ommx_prefect._targets.oci import OciTarget
from ommx_prefect._values.error_texts import describe_error
from ommx_prefect.exceptions import DocumentError, OmmxPrefectError, StageError

# Of the tags that begin with a time before this night, and of the others: so many are looked at.
MOST_READ = 24
# As `_flowrun.image_name` writes them, where a flow chooses no tag.
_DATED = re.compile(r"[0-9]{8}T[0-9]{6}-")
# The records of a stage in the same repository, and the parts of experiments.
_NO_NIGHT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}_|part-[0-9]{3,}-")


@dataclass(frozen=True)
class Composed:
    """An earlier night in a registry.

    Attributes:
        image_name: Its name.
        target: Where it is.
        subject: The descriptor of its manifest.
        series: Of which series it is.
        manifest: Its manifest.
    """

    image_name: str
    target: OciTarget
    subject: Descriptor
    series: Series
    manifest: Mapping[str, Any] = field(repr=False)

    def is_finished(self) -> bool:
        """Tell, from its config, whether it is a finished night, and no failed one that was pushed.

        One whose config is damaged or gone is none to follow either: there are others before it.
        """
        try:
            data = self.target.read_blob(descriptor_of(self.manifest["config"]))
            config = strict_json(data, "Experiment config")
        except (DocumentError, GoneError):
            return False
        return isinstance(config, dict) and config.get("status") == "finished"

    def open(self) -> Experiment | None:
        """Pull it into the Local Registry, unless it is there; None where its name has moved.

        Nobody asked for a name of this host to move: one that is another experiment's stays.
        """
        return self.target.open(self.subject.digest, self.image_name, moves=False)


def composed_before(series: Series, stage: Stage) -> list[Composed]:
    """Return the earlier nights in the registry of a stage, the last first; some may have failed.

    Args:
        series: The series, and the night before which they were scheduled.
        stage: The stage of that night; none is found where its image name is of another registry.

    Raises:
        StageError: The registry does not answer.
    """
    name = f"{series.repository}:any"
    if time_of(series) is None or not series.repository or not stage.serves(name):
        return []
    target, remembered = OciTarget(stage, name), dict(_remembered(series))
    others = {x: each for x, each in remembered.items() if repository_of(x) != series.repository}
    names = dict.fromkeys([*(remembered.keys() - others.keys()), *_names_listed(target, series)])
    read = [_read(each, x, series) for x, each in others.items()]
    with ThreadPoolExecutor(READERS, "ommx-prefect-nights") as pool:
        read += pool.map(lambda x: _read(target, x, series), names)
    found = {each.subject.digest: each for each in reversed(read) if each}  # the first name counts
    return sorted(found.values(), key=lambda x: (time_of(x.series), x.image_name), reverse=True)


def _names_listed(target: OciTarget, series: Series) -> list[str]:
    """Return the image names in a repository that may be those of earlier nights."""
    try:
        tags = target.tags()
    except StageError as error:
        warn(f"Earlier nights in {series.repository} are not listed: {describe_error(error)}")
        return []
    return [f"{series.repository}:{tag}" for tag in tags_to_read(tags, series)]


def tags_to_read(tags: Sequence[str], series: Series) -> list[str]:
    """Return the tags that are looked at, those of the last nights before one first."""
    until = f"{time_of(series):{TIME_FORMAT}}-"
    order = sorted((tag for tag in tags if not _NO_NIGHT.match(tag)), reverse=True)
    before = [tag for tag in order if _DATED.match(tag) and tag[: len(until)] <= until]
    known = set(before)
    others = [tag for tag in order if tag not in known]
    return [*before[:MOST_READ], *others[:MOST_READ]]


def _remembered(series: Series) -> Iterator[tuple[str, OciTarget]]:
    """Yield the names of earlier nights that this host composed, and where."""
    for folder in stage_root().iterdir():
        with contextlib.suppress(OmmxPrefectError, OSError):
            stage = LocalStage(folder.name)
            previous, record = read_previous(stage), read_flow_record(stage)
            if previous is None or record is None or not previous.sealed.composed_in:
                continue
            if Series.of_record(record).is_before(series):
                sealed = previous.sealed
                place = stage_at(sealed.flow_run_id, sealed.composed_in)
                yield sealed.stored_name, OciTarget(place, sealed.image_name)


def _read(target: OciTarget, name: str, series: Series) -> Composed | None:
    """Read what a name points to; None where it is no earlier night of a series, or gone."""
    try:
        data = target.manifest(name.rpartition(":")[2])
        manifest = manifest_of(data)
    except (GoneError, DocumentError):
        return None
    night = Series.of_annotations(manifest.get("annotations") or {}, name)
    if not night.is_before(series):
        return None
    subject = Descriptor(MANIFEST_MEDIA_TYPE, sha256_digest(data), len(data))
    return Composed(name, target, subject, night, manifest)
