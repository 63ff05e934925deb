"""Load instances from files, archives and datasets, and believe only what is whole.

| source | example |
|---|---|
| MPS | `model.mps`, `model.mps.gz` |
| QPLIB | `QPLIB_3506.qplib` |
| OMMX archive with an instance | `model.ommx`; it is imported into the Local Registry |
| dataset | `miplib2017:air05`, `qplib:3506`; pulled from ghcr.io unless already there |
"""

from __future__ import annotations

import difflib
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from ommx import Instance, dataset
from ommx.artifact import Artifact, RemoteArtifactError

from ommx_prefect._values.parameters import storable
from ommx_prefect._workarounds.panics import is_panic
from ommx_prefect.exceptions import InstanceFileError
from ommx_prefect.instances._mps import missing_end, mps_warnings
from ommx_prefect.instances._name import give_name

__all__ = ["InstanceFileError", "NamedInstance", "expand_sources", "load_instance"]


@dataclass(frozen=True)
class NamedInstance:
    r"""An instance, what to call it, where it comes from, and what to know about its loading.

    A byte of a file name that is not UTF-8 is an escape in `name` and `source`: `bad\udcff.mps`.
    """

    name: str
    instance: Instance
    source: str
    warnings: tuple[str, ...] = ()

    def renamed(self, name: str) -> NamedInstance:
        """Return it under another name, which its instance (the same object) now has as well."""
        give_name(self.instance, name)
        return replace(self, name=name)


@dataclass(frozen=True)
class _Dataset:
    """A collection of instances that OMMX publishes."""

    names: Callable[[], Mapping[str, object]]
    load: Callable[[str], Instance]


_DATASETS: dict[str, _Dataset] = {
    "miplib2017": _Dataset(dataset.miplib2017_instance_annotations, dataset.miplib2017),
    "qplib": _Dataset(dataset.qplib_instance_annotations, dataset.qplib),
}
_EXPERIMENT = "application/org.ommx.v1.experiment.config+json"
_INSTANCE_LAYERS = frozenset(
    {"application/org.ommx.v1.instance", "application/org.ommx.v2.instance"}
)


def load_instance(source: str | Path) -> NamedInstance:
    """Load the instance of a file, archive or dataset name.

    The name is the file's without its suffix, or the dataset's. The instance keeps it as a user
    annotation, by which the tasks of `ommx_prefect.solvers` call it, and as a title if it has none.

    Raises:
        InstanceFileError: There is no such source, or it is broken: the message says how.
    """
    text = str(source)
    collection, separator, name = text.partition(":")
    if separator and collection in _DATASETS:
        return _named(name, _from_dataset(text, collection, name), text)
    path = Path(source)
    with _told(text):
        suffix = _known_suffix(path)
    instance, warnings = _guarded(path, _LOADERS[suffix])
    _require_content(text, instance)
    return _named(path.name[: -len(suffix)] or path.name, instance, text, warnings)


def expand_sources(sources: Iterable[str | Path]) -> list[str]:
    """Return the sources with every folder replaced by the instance files in it, sorted.

    Folders inside a folder are not entered, and files of other kinds are passed over.

    Raises:
        InstanceFileError: A folder holds no instance file, or cannot be read.
    """
    return [text for source in sources for text in _expanded(source)]


@contextmanager
def _told(source: str) -> Iterator[None]:
    """Turn what the system says of a path (too long, not allowed) into an InstanceFileError."""
    try:
        yield
    except OSError as error:
        raise InstanceFileError(source, f"it cannot be read: {error.strerror}") from error


def _expanded(source: str | Path) -> list[str]:
    path = Path(source)
    with _told(str(source)):
        if not path.is_dir():
            return [str(source)]
        found = sorted(str(file) for file in path.iterdir() if _suffix(file) and file.is_file())
    if not found:
        reason = f"no instance file in this folder; looked for {', '.join(_LOADERS)}"
        raise InstanceFileError(str(source), reason)
    return found


def _suffix(path: Path) -> str | None:
    return next((suffix for suffix in _LOADERS if path.name.lower().endswith(suffix)), None)


def _known_suffix(path: Path) -> str:
    if path.is_dir():
        raise InstanceFileError(str(path), "a folder; expand_sources() lists the files in it")
    suffix = _suffix(path)
    if suffix is None:
        known = ", ".join([*_LOADERS, *(f"{each}:NAME" for each in _DATASETS)])
        raise InstanceFileError(str(path), f"no kind of instance ends so; known are {known}")
    if not path.is_file():
        raise InstanceFileError(str(path), "no such file. Check the path")
    return suffix


def _named(
    name: str, instance: Instance, source: str, warnings: tuple[str, ...] = ()
) -> NamedInstance:
    give_name(instance, storable(name))
    return NamedInstance(storable(name), instance, storable(source), warnings)


def _guarded(path: Path, load: _Loader) -> tuple[Instance, tuple[str, ...]]:
    """Load, and turn what the loaders raise into an InstanceFileError."""
    try:
        return load(path)
    except InstanceFileError:
        raise
    except Exception as error:
        raise InstanceFileError(str(path), f"it cannot be read: {error}") from error
    except BaseException as error:
        if not is_panic(error):
            raise
        reason = (
            f"OMMX's loader misses a field ({error}): a line is cut off, or leaves out what it "
            "may, such as the name of the BOUNDS set. Fetch it again, or write it in full"
        )
        raise InstanceFileError(str(path), reason) from error


def _from_mps(path: Path) -> tuple[Instance, tuple[str, ...]]:
    text = _text(path)
    if missing_end(text):
        raise InstanceFileError(
            str(path), "no ENDATA line: it is cut off or no MPS. Fetch it again"
        )
    with _utf8_path(path) as name:
        return Instance.load_mps(name), mps_warnings(text)


def _from_qplib(path: Path) -> tuple[Instance, tuple[str, ...]]:
    _text(path)
    with _utf8_path(path) as name:
        return Instance.load_qplib(name), ()


@contextmanager
def _utf8_path(path: Path) -> Iterator[str]:
    """Yield a path to the same file that OMMX's loaders take: theirs must be UTF-8."""
    if storable(str(path)) == str(path):
        yield str(path)
        return
    with TemporaryDirectory() as folder:
        link = Path(folder, f"instance{_suffix(path)}")
        link.symlink_to(path.absolute())
        yield str(link)


def _text(path: Path) -> str:
    content = path.read_bytes()
    if path.name.lower().endswith(".gz"):
        try:
            content = gzip.decompress(content)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            reason = f"its gzip data is broken ({error}). Fetch it again"
            raise InstanceFileError(str(path), reason) from error
    if not content.strip():
        raise InstanceFileError(str(path), "it is empty. Fetch it again")
    return content.decode("latin-1")


def _from_archive(path: Path) -> tuple[Instance, tuple[str, ...]]:
    manifest = Artifact.inspect_archive(path)
    if manifest.config.media_type == _EXPERIMENT:
        reason = "an archive of an Experiment; open it with ommx.experiment.Experiment"
        raise InstanceFileError(str(path), reason)
    if not any(layer.media_type in _INSTANCE_LAYERS for layer in manifest.layers):
        held = ", ".join(sorted({layer.media_type for layer in manifest.layers})) or "nothing"
        raise InstanceFileError(str(path), f"no instance in this archive, it holds {held}")
    return Artifact.import_archive(path).instance, ()


def _from_dataset(source: str, collection: str, name: str) -> Instance:
    names = _DATASETS[collection].names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else f"it has {len(names)} others"
        raise InstanceFileError(source, f"{collection} has no instance {name!r}; {hint}")
    try:
        return _DATASETS[collection].load(name)
    except RemoteArtifactError as error:
        reason = f"it is not in the Local Registry and could not be pulled: {error}"
        raise InstanceFileError(source, reason) from error


def _require_content(source: str, instance: Instance) -> None:
    if not instance.decision_variables:
        raise InstanceFileError(source, "it has no variables. Is it whole?")


_Loader = Callable[[Path], tuple[Instance, tuple[str, ...]]]
_LOADERS: dict[str, _Loader] = {
    ".mps": _from_mps,
    ".mps.gz": _from_mps,
    ".qplib": _from_qplib,
    ".ommx": _from_archive,
}
