"""Match the solves of several experiments: by digest of the instance, then by its name."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ommx_prefect.analysis._instances import filled_digests, filled_names
from ommx_prefect.analysis._totals import censored_seconds

KEY = ["_instance", "adapter", "variant", "seed"]
VALUES = ["instance", "digest", "outcome", "objective", "dual_bound", "seconds", "sense"]


def keyed(nights: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Return the tables with the columns of `KEY` filled, and their seconds censored."""
    return [_filled(night, keys) for night, keys in zip(nights, instance_keys(nights), strict=True)]


def instance_keys(nights: Sequence[pd.DataFrame]) -> list[pd.Series]:
    """Return for each experiment the keys by which its rows are paired.

    An instance is the one of an earlier night that has its digest; else, where no other content of
    its night has its name, the one that has its name; else one of its own.
    """
    by_digest: dict[str, str] = {}
    by_name: dict[str, str] = {}
    found = []
    for night in nights:
        known = filled_digests(night.assign(experiment=""))
        names, digests = _texts(filled_names(night)), _texts(known)
        is_one = known.groupby(names).transform("nunique") <= 1  # a missing one is no content
        plain = names.where(is_one, "")
        keys = [
            by_digest.get(digest) or by_name.get(plain_name) or digest or name
            for digest, plain_name, name in zip(digests, plain, names, strict=True)
        ]
        by_digest = {**dict(zip(digests, keys, strict=True)), **by_digest, "": ""}
        by_name = {**dict(zip(plain, keys, strict=True)), **by_name, "": ""}
        found.append(pd.Series(keys, index=night.index, dtype=str))
    return found


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
    )
    return filled[KEY + VALUES]
