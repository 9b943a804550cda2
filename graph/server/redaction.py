"""Takes out of a text whatever looks like a secret.

Nothing of ours logs one; this is for what a library or an exception quotes.
"""

import re

HIDDEN = "[hidden]"

_NAMES = r"password|passwd|passphrase|secret|token|authorization|credential|api_?key"
_QUOTED = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
_SECRETS = (
    # postgresql://user:password@host
    (re.compile(r"(?<=://)([^\s:/@]*):[^\s/]*(?=@)"), rf"\1:{HIDDEN}"),
    # password=..., "accessToken": "...", Authorization: Basic ...
    (
        re.compile(
            rf"(?i)((?:{_NAMES})[\w-]{{0,40}}[\"']?\s*[:=]\s*)"
            rf"(?:{_QUOTED}|(?:(?:bearer|basic)\s+)?[^\s,;&)}}\]]+)"
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)\b(bearer)\s+[\w.~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    # a JWT by itself
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), HIDDEN),
    (re.compile(r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END|\Z)"), HIDDEN),
)


def redacted(text: str) -> str:
    """The text without its secrets, in time linear in its length."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text
