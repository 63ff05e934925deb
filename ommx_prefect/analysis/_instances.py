"""Identify the instances of a table: by the digest of their content, else by their name.

A solve that was killed, or whose result was cached, may know the name alone. It is of the one
content that its experiment has under this name; where there are several, nobody knows of which.
"""

from __future__ import annotations

import pandas as pd

# So many digits of a digest name an instance that has no name, as the parameter `instance` does.
DIGITS = 12


def filled_digests(table: pd.DataFrame) -> pd.Series:
    """Return the digest of each row, or of the only content of its name; else missing."""
    digests = table["digest"].astype("string")
    digests = digests.mask(digests == "")
    keys = [table["experiment"].astype("string").fillna(""), table["instance"].astype("string")]
    of_name = digests.groupby(keys)
    is_only = of_name.transform("nunique") == 1
    return digests.fillna(of_name.transform("first").where(is_only))


def filled_names(table: pd.DataFrame) -> pd.Series:
    """Return the name of each row's instance, or the first digits of its digest; else missing."""
    digits = table["digest"].astype("string").str.removeprefix("sha256:").str.slice(0, DIGITS)
    return table["instance"].astype("string").fillna(digits.mask(digits == ""))


def instance_key(table: pd.DataFrame) -> pd.Series:
    """Return the key of each row's instance: the digest, or the name where there is none."""
    return filled_digests(table).fillna(table["instance"].astype("string")).fillna("").astype(str)
