"""Removes secrets from log text.

Our own messages contain none; messages of libraries and exceptions may.
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
    """Replace everything that looks like a secret, in linear time."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text
