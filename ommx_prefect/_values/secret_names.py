"""Names that look like a credential's: of arguments, keys, fields, options, URL queries."""

from __future__ import annotations

import functools
import re

# Parts of a name that mark it as a credential: the first wherever they are, the others as a word
# of it. `pass` alone is no such word, for a method has passes, too.
SECRET_NAME = re.compile(
    r"password|passwd|passphrase|passcode"
    r"|(^|[_\W])(pwds?|pws?|secrets?|tokens?|credentials?|creds|auth|authorization|bearer"
    r"|jwts?|otps?|totp|sas|dsn|cookies?|session|csrf|xsrf|webhook"
    r"|(db|user|admin|root|smtp|proxy)[_-]?pass|(client|app|shared)secret"
    r"|(api|auth|access|refresh|id|bearer|sas|session|csrf|xsrf)token|[a-z]{0,9}sess(ion)?id"
    r"|conn(ection)?[_-]?str(ing)?|webhook[_-]?url|shared_access_signature"
    r"|(api|access|account|storage|subscription|private|secret|session|signing|encryption|license"
    r"|ssh|rsa|hmac|master)[_ -]?keys?)($|[_\W\d])",
    re.IGNORECASE,
)
# Where a new word begins without an underscore: `apiKey`, `HTTPToken`.
WORD_BEGINS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# A text that is longer is no name.
LONGEST_NAME = 256


def is_secret_name(name: str) -> bool:
    """Tell whether a name looks like a credential's (`apiKey`, `db_password`, `session`)."""
    return len(name) <= LONGEST_NAME and _is_secret_name(name)


@functools.lru_cache(maxsize=10_000)
def _is_secret_name(name: str) -> bool:
    return bool(SECRET_NAME.search(WORD_BEGINS.sub("_", name)))
