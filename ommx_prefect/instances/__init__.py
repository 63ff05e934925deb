"""Load instances from files, archives and datasets, accepting only what is complete and confirmed.

| source | example | read by |
|---|---|---|
| MPS | `model.mps`, `model.mps.gz` | HiGHS and OMMX, in doubt SCIP |
| LP | `model.lp`, `model.lp.gz` | HiGHS and SCIP |
| QPLIB | `QPLIB_3506.qplib` | OMMX, counted against the file's own figures |
| OMMX archive with one instance | `model.ommx`; it is imported into the Local Registry | |
| dataset | `miplib2017:air05`, `qplib:3506`; pulled from ghcr.io unless already there | |

No reader of MPS and LP files is right on all of them. Two must agree on every row, column, entry,
bound and cost; where two differ the third decides, and a warning names the difference. Where no two
agree the file is refused with the first difference, and so it is where the two that agree are known
to err alike: on a range that stands before its right side, on two sets of one section, on `1,5`.
What HiGHS ignores (a row that is nowhere, a second entry) is a warning. HiGHS and SCIP are
`highspy` and `pyscipopt`, which come with the extras `highs` and `scip`; with OMMX alone no MPS
file is confirmed, and `min_readers=1` says that you believe it all the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ommx import Instance

from ommx_prefect._values.parameters import storable
from ommx_prefect.exceptions import InstanceFileError
from ommx_prefect.instances._agreement import Agreed, agreed_instance
from ommx_prefect.instances._archives import DATASETS, from_archive, from_dataset
from ommx_prefect.instances._name import give_name
from ommx_prefect.instances._plain_file import plain_file
from ommx_prefect.instances._qplib import read_qplib
from ommx_prefect.instances._readers_note import give_readers, readers_of
from ommx_prefect.instances._sources import FORMATS, expanded, require_instance_file, told

__all__ = ["InstanceFileError", "NamedInstance", "expand_sources", "load_instance"]


@dataclass(frozen=True)
class NamedInstance:
    r"""An instance, what to call it, where it comes from, and what to know about its loading.

    A byte of a file name that is not UTF-8 is an escape in `name` and `source`: `bad\udcff.mps`.
    `readers` names those who agreed on it, `highs+ommx`; it is empty for archives and datasets
    that were not made of a file loaded here.
    """

    name: str
    instance: Instance
    source: str
    warnings: tuple[str, ...] = ()
    readers: str = ""

    def renamed(self, name: str) -> NamedInstance:
        """Return a copy with another name, which its instance (the same object) then has too."""
        give_name(self.instance, name)
        return replace(self, name=name)


def load_instance(source: str | Path, *, min_readers: int = 2) -> NamedInstance:
    """Load the instance of a file, archive or dataset name.

    The name is the file's without its suffix, or the dataset's. The instance keeps it as a user
    annotation, by which the tasks of `ommx_prefect.solvers` call it, and as a title if it has none;
    it keeps its readers as well, and the tasks record them.

    Args:
        source: A path, or `collection:name`.
        min_readers: How many readers must agree on an MPS or LP file. With 1, where no two agree
            the first that takes it is believed (HiGHS, SCIP, OMMX): for a reader that is not
            installed, or a file that others refuse. Differences are warnings still.

    Raises:
        InstanceFileError: There is no such source, it is broken, or its readers do not agree: the
            message says how.
        ValueError: `min_readers` is neither 1 nor 2.
    """
    if min_readers not in (1, 2):
        raise ValueError(f"min_readers is {min_readers}; it may be 1 or 2")
    text = str(source)
    collection, separator, name = text.partition(":")
    if separator and collection in DATASETS:
        return _with_name(name, text, from_dataset(text, collection, name))
    path = Path(source)
    suffix = require_instance_file(path, (f"{each}:NAME" for each in DATASETS))
    with told(text):
        agreed = _from_file(path, FORMATS[suffix], min_readers)
    if not agreed.instance.decision_variables:
        raise InstanceFileError(text, "it has no variables. Is it whole?")
    if agreed.readers:
        give_readers(agreed.instance, agreed.readers)
    name = path.name[: -len(suffix)] or path.name
    return _with_name(name, text, agreed.instance, agreed.warnings)


def expand_sources(sources: Iterable[str | Path]) -> list[str]:
    """Return the sources with every folder replaced by the instance files in it, sorted.

    Folders inside a folder are not entered, and files of other kinds are passed over.

    Raises:
        InstanceFileError: A folder holds no instance file, or cannot be read.
        TypeError: It is one source, not a list of them.
    """
    if isinstance(sources, (str, os.PathLike)):
        raise TypeError(f"expand_sources takes a list of sources: expand_sources([{sources!r}])")
    return [text for source in sources for text in expanded(source)]


def _from_file(path: Path, suffix: str, min_readers: int) -> Agreed:
    """Read a file; whatever is raised besides is what OMMX says of values it cannot hold."""
    source = str(path)
    try:
        if suffix == ".ommx":
            return Agreed(from_archive(path, source), "", ())
        with plain_file(path, suffix) as plain:
            if suffix == ".qplib":
                return Agreed(read_qplib(plain, source), "ommx", ())
            return agreed_instance(plain, source, suffix, min_readers)
    except (InstanceFileError, OSError):
        raise
    except Exception as error:
        raise InstanceFileError(source, f"it cannot be read: {error}") from error


def _with_name(
    name: str, source: str, instance: Instance, warnings: tuple[str, ...] = ()
) -> NamedInstance:
    give_name(instance, storable(name))
    return NamedInstance(storable(name), instance, storable(source), warnings, readers_of(instance))
