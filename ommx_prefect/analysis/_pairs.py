"""Match the solves of several experiments: by content and name of the instance, then by either."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd

from ommx_prefect.analysis._instances import filled_digests, filled_names
from ommx_prefect.analysis._totals import censored_seconds

# The digest of its content, and its name; empty where nobody says it.
_Instance: TypeAlias = tuple[str, str]

KEY = ["_instance", "adapter", "variant", "seed"]
VALUES = ["instance", "digest", "outcome", "objective", "dual_bound", "seconds", "sense", "limit"]


def keyed(nights: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Return the tables with the columns of `KEY` filled, and their seconds censored."""
    return [_filled(night, keys) for night, keys in zip(nights, instance_keys(nights), strict=True)]


def instance_keys(nights: Sequence[pd.DataFrame]) -> list[pd.Series]:
    """Return for each experiment the keys by which its rows are paired.

    An instance is a content under a name; equal content under two names of a night is two
    instances. It is the one of an earlier night that has its content and its name; else one that
    has its content, and no other instance of this night is; else, where no other content of its
    night has its name, the one that has its name; else one of its own.
    """
    known, found = _Known(), []
    for night in nights:
        names = _texts(filled_names(night))
        digests = _texts(filled_digests(night.assign(experiment="")))
        rows = list(zip(digests, names, strict=True))
        keys = known.take(sorted(set(rows), key=lambda each: (not each[0], each)))
        found.append(pd.Series([keys[each] for each in rows], index=night.index, dtype=str))
    return found


class _Known:
    """The instances of the nights so far: the keys of each digest and name, the oldest first."""

    def __init__(self) -> None:
        self._exact: dict[_Instance, list[str]] = {}
        self._by_digest: dict[str, list[str]] = {}
        self._by_name: dict[str, list[str]] = {}
        self._nights = 0

    def take(self, night: Sequence[_Instance]) -> dict[_Instance, str]:
        """Return the keys of a night's instances, no two the same, and remember them."""
        contents = Counter(name for _, name in night)
        ways: tuple[Callable[[_Instance], Sequence[str]], ...] = (
            lambda each: self._exact.get(each, ()),
            lambda each: self._by_digest.get(each[0], ()) if each[0] else (),
            lambda each: self._by_name.get(each[1], ()) if contents[each[1]] == 1 else (),
            lambda each: (f"{each[1]} {each[0]} {self._nights}",),
        )
        keys: dict[_Instance, str] = {}
        taken: set[str] = set()
        for keys_of in ways:
            for each in night:
                key = next((x for x in keys_of(each) if x not in taken), None)
                if each not in keys and key is not None:
                    keys[each] = key
                    taken.add(key)
        self._remember(keys, contents)
        return keys

    def _remember(self, keys: Mapping[_Instance, str], contents: Mapping[str, int]) -> None:
        for (digest, name), key in keys.items():
            self._exact.setdefault((digest, name), []).append(key)
            self._by_digest.setdefault(digest, []).append(key)
            if contents[name] == 1:
                self._by_name.setdefault(name, []).append(key)
        self._nights += 1


def of_content(rows: pd.DataFrame, digests: pd.Series) -> pd.DataFrame:
    """Return the rows of earlier nights that are of the content that the later night has.

    Args:
        rows: Rows with the columns of `KEY`.
        digests: The digest of the later night, by those columns. Where no row has it, all stay.
    """
    keys = pd.MultiIndex.from_frame(rows[KEY])
    is_same = rows["digest"].eq(digests.reindex(keys).array).fillna(False).astype(bool)
    has_same = is_same.groupby([rows[name] for name in KEY]).transform("any")
    return rows[is_same | ~has_same]


def _texts(column: pd.Series) -> pd.Series:
    return column.fillna("").astype(str)


def _filled(night: pd.DataFrame, keys: pd.Series) -> pd.DataFrame:
    filled = night.assign(
        _instance=keys,
        instance=filled_names(night),
        digest=filled_digests(night.assign(experiment="")),
        variant=_texts(night["variant"]),
        adapter=_texts(night["adapter"]),
        seed=night["seed"].fillna(-1).astype(int),
        outcome=night["outcome"].fillna("interrupted").astype(str),
        seconds=censored_seconds(night),
        limit=night["limit"].astype(float).fillna(np.inf),
    )
    return filled[KEY + VALUES]
