"""Frames hold events in their order, whatever their text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.events.backlog import Event
from db.events.frames import FRAME_LIMIT, encode, fits, pack, unpack

TEXTS = st.text(max_size=40) | st.sampled_from(["x", "é", "\x00", "😀", '"']).flatmap(
    lambda character: st.integers(0, FRAME_LIMIT).map(lambda length: character * length)
)
EVENTS = st.builds(Event, TEXTS, TEXTS, st.booleans())


@given(st.lists(EVENTS.filter(fits), min_size=1, max_size=20))
def test_frames_return_the_events_in_order(events: list[Event]) -> None:
    frames = pack(events)
    assert [event for frame in frames for event in unpack(frame)] == events
    assert all(frame.isascii() and len(frame) <= FRAME_LIMIT for frame in frames)


@given(EVENTS)
def test_event_fits_if_its_frame_is_within_the_limit(event: Event) -> None:
    assert fits(event) == (len(encode(event)) + len("[]") <= FRAME_LIMIT)


def test_event_that_cannot_be_encoded_is_refused_before_it_is_queued() -> None:
    with pytest.raises(UnicodeError):
        fits(Event("run:1", "\ud800"))


def test_small_events_share_a_frame() -> None:
    events = [Event(f"tasks:{number}", "changed") for number in range(500)]
    length = sum(len(encode(event)) + 1 for event in events) + 1
    assert len(pack(events)) <= length // (FRAME_LIMIT - 40) + 1


def test_frame_with_one_event_is_that_of_builds_that_send_no_lists() -> None:
    assert pack([Event("run:1", "done")]) == [encode(Event("run:1", "done"))]
