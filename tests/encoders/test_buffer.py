"""The buffer between a reader and playout."""

from __future__ import annotations

import threading
import time

import av
import numpy as np

from encoders.buffer import SliceBuffer
from encoders.format import ChannelFormat

FIRST = 1000


def fill(buffer: SliceBuffer, format: ChannelFormat, slots: range) -> None:
    for slot in slots:
        buffer.put_picture(slot, av.VideoFrame(format.width, format.height, "yuv420p"))
        buffer.put_sound(0, format.first_sample(slot), np.zeros((2, format.samples_in(slot)), np.float32))


def test_a_slot_is_known_only_when_the_next_picture_is(channel: ChannelFormat) -> None:
    buffer = SliceBuffer(channel)
    assert buffer.pull(FIRST, 0) is None
    buffer.start(FIRST)
    fill(buffer, channel, range(FIRST, FIRST + 1))
    assert not buffer.ready(FIRST)
    assert buffer.pull(FIRST, 0.01) is None
    buffer.known(pictures=FIRST + 3, sound=channel.first_sample(FIRST + 3))
    one, two = buffer.pull(FIRST, 0), buffer.pull(FIRST + 1, 0)
    assert one is not None
    assert two is not None
    assert (one.repeated, two.repeated) == (False, True)
    assert two.picture is one.picture
    assert two.sound is None
    buffer.end(FIRST + 3)
    ended = buffer.pull(FIRST + 3, 0)
    assert ended is not None
    assert ended.ended
    assert not buffer.ready(FIRST + 3)


def test_a_reader_sleeps_when_it_is_full_and_wakes_when_there_is_room(channel: ChannelFormat) -> None:
    buffer = SliceBuffer(channel, ahead=0.2)
    buffer.start(FIRST)
    fill(buffer, channel, range(FIRST, FIRST + 6))
    assert not buffer.wait_for_room(True, True, 0.01)
    woken = threading.Event()
    threading.Thread(target=lambda: buffer.wait_for_room(True, True, 10) and woken.set(), daemon=True).start()
    assert buffer.pull(FIRST + 3, 0) is not None
    assert woken.wait(5)
    assert buffer.drops == 3


def test_close_wakes_everybody(channel: ChannelFormat) -> None:
    buffer = SliceBuffer(channel)
    buffer.start(FIRST)
    done = threading.Event()
    threading.Thread(target=lambda: buffer.pull(FIRST, 30) is None and done.set(), daemon=True).start()
    time.sleep(0.02)
    buffer.close()
    assert done.wait(5)


def test_a_live_picture_is_held_only_for_a_while(channel: ChannelFormat) -> None:
    buffer = SliceBuffer(channel, live=True)
    buffer.start(FIRST)
    fill(buffer, channel, range(FIRST, FIRST + 1))
    got = [buffer.pull(slot, 0) for slot in range(FIRST, FIRST + 12)]
    assert [piece is not None for piece in got] == [True] * 6 + [False] * 6
    assert not buffer.ready(FIRST + 12)
    fill(buffer, channel, range(FIRST + 12, FIRST + 14))
    assert buffer.ready(FIRST + 12)
    late = buffer.put_picture(FIRST, av.VideoFrame(160, 90, "yuv420p"))
    assert not late
    assert buffer.late == 1
