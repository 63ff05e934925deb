"""Which instances do the sources of a benchmark name, and how are they told apart?"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from hard_instances import default_suite

from ommx_prefect.instances import InstanceFileError, NamedInstance, expand_sources, load_instance

# What names an instance of a data set, miplib2017:NAME, and no file.
DATA_SET = re.compile(r"\w+:(?![/\\])")
# A byte of a file name that is not UTF-8, as `storable` writes it.
ESCAPE = re.compile(r"\\u(dc[89a-f][0-9a-f])")


@dataclass(frozen=True)
class Unreadable:
    """A source that holds no instance to believe: what to call it, and why."""

    name: str
    source: str
    reason: str

    def renamed(self, name: str) -> Unreadable:
        """Return it under another name."""
        return replace(self, name=name)


Found = NamedInstance | Unreadable


def generated() -> list[NamedInstance]:
    """Return the generated instances under their titles."""
    return [NamedInstance(each.title, each, "hard_instances.py") for each in default_suite()]


def read_all(sources: Iterable[str]) -> tuple[list[NamedInstance], list[Unreadable]]:
    """Read every source; no two of what is found have the same name."""
    found = told_apart([each for source in sources for each in read(source)])
    instances = [each for each in found if isinstance(each, NamedInstance)]
    return instances, [each for each in found if isinstance(each, Unreadable)]


def read(source: str) -> Iterator[Found]:
    """Yield the instance of a file or data set, or those in a folder."""
    path = path_of(source)
    if not os.path.lexists(path) and not DATA_SET.match(path):
        yield unreadable(path, "no such file or folder. Check the path")
        return
    try:
        files = expand_sources([path])
    except InstanceFileError as error:
        yield unreadable(path, error.reason)
        return
    for file in files:
        try:
            yield load_instance(file)
        except InstanceFileError as error:
            yield unreadable(file, error.reason)


def unreadable(path: str, reason: str) -> Unreadable:
    """Return what cannot be read under its file's whole name."""
    name = Path(path).name or str(Path(path))
    return Unreadable(storable(name), storable(path), storable(reason))


# ---------------------------------------------------------------- bytes that are not UTF-8


def storable(text: str) -> str:
    """Write bytes that are not UTF-8 as escapes: parameters of flows and Runs can hold no other."""
    return text.encode(errors="backslashreplace").decode()


def path_of(source: str) -> str:
    """Undo `storable`, unless there is a file of just this name."""
    if os.path.lexists(source):
        return source
    return ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), source)


# ---------------------------------------------------------------- names


def told_apart(found: Sequence[Found]) -> list[Found]:
    """Give each the shortest name that no other could have, and number what is there twice.

    A file is called by its stem where that is unique, else by so much of its suffix and path as
    tells it from the others. The order of the sources does not matter.
    """
    names = {Path(each.source): list(names_of(each)) for each in found}
    shared = Counter(name for each in names.values() for name in set(each))
    taken: set[str] = set()
    result = []
    for each in found:
        own = names[Path(each.source)]
        name = next((name for name in own if shared[name] == 1), own[-1])
        name = next(new for new in numbered(name) if new not in taken)
        taken.add(name)
        result.append(each if name == each.name else each.renamed(name))
    return result


def names_of(found: Found) -> Iterator[str]:
    """Yield what it could be called, the shortest first: `p`, `p.mps`, `a/p`, `a/p.mps`, ..."""
    yield found.name
    parts = Path(found.source).parts
    suffix = parts[-1].removeprefix(found.name) if parts else ""
    for size in range(1, len(parts) + 1):
        path = str(Path(*parts[-size:]))
        if size > 1:
            yield path.removesuffix(suffix)
        yield path


def numbered(name: str) -> Iterator[str]:
    """Yield the name, and then the name with a number."""
    yield name
    for number in count(2):
        yield f"{name} ({number})"
