"""The wire format of events: frames of ASCII, each the JSON of one event, or a list of several."""

import json
from collections.abc import Iterable

import msgspec

from db.events.backlog import Event

# PostgreSQL refuses a NOTIFY of 8000 bytes or more; all carriers share the limit, so that moving
# from one to another changes nothing.
FRAME_LIMIT = 7_900
_BRACKETS = 2
_LONGEST_ESCAPE = 6
"""The bytes of the longest JSON escape of one ASCII character."""
_AROUND = len('["","",false]')

_decode = msgspec.json.Decoder(Event).decode
_decode_list = msgspec.json.Decoder(list[Event]).decode


def encode(event: Event) -> str:
    """Encodes as ASCII, so that no server encoding can reject an event."""
    text = msgspec.json.encode(event)
    return text.decode() if text.isascii() else json.dumps(event, separators=(",", ":"))


def fits(event: Event) -> bool:
    """Whether a frame can hold the event."""
    room = FRAME_LIMIT - _BRACKETS
    if event.topic.isascii() and event.payload.isascii():
        longest = (len(event.topic) + len(event.payload)) * _LONGEST_ESCAPE + _AROUND
        if longest <= room:
            return True
    return len(encode(event)) <= room


def pack(events: Iterable[Event]) -> list[str]:
    """As few frames as hold the events in their order: each costs its receivers a message."""
    frames: list[str] = []
    parts: list[str] = []
    room = FRAME_LIMIT - _BRACKETS
    for text in map(encode, events):
        if parts and len(text) + 1 > room:
            frames.append(_join(parts))
            parts, room = [], FRAME_LIMIT - _BRACKETS
        parts.append(text)
        room -= len(text) + 1
    return [*frames, _join(parts)]


def unpack(frame: str) -> list[Event]:
    """Raises msgspec.DecodeError for what `pack` has not made."""
    return _decode_list(frame) if frame.startswith("[[") else [_decode(frame)]


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"[{','.join(parts)}]"
