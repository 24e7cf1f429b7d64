"""Prometheus metrics, read from the same accounts as everything else, at the moment of the scrape.

Label sets are fixed by the configuration (channels, renditions, sources, workers), so their number cannot grow with
what arrives. Counters of workers begin again at their restart; Prometheus' ``rate()`` expects that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, get_args

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from headend import clock as house
from headend.api import models, views
from headend.api.desk import Desk
from headend.api.events import Stream
from headend.api.token import Doorkeeper

_LAMPS: Final = ("good", "waiting", "bad", "idle")
_MODES: Final = get_args(models.Mode)
_COUNTS: Final = {
    "frames": "Pictures sent to the ladder",
    "repeats": "Pictures shown again because the source runs slower than the channel",
    "holds": "Pictures held because nothing else was ready",
    "drops": "Source pictures left out",
    "jumps": "Slots that were not made in time and left out",
}


class Metrics(Collector):
    """Turns the desk's knowledge into metric families. Bring it up to date with ``desk.survey()`` before a scrape."""

    def __init__(self, desk: Desk, stream: Stream, door: Doorkeeper) -> None:
        self._desk = desk
        self._stream = stream
        self._door = door
        self._workers: list[models.Worker] = []
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """The text and its media type, in the form that the scraper's Accept header asks for."""
        await self._desk.survey()
        self._workers = [views.worker(row) for row in await self._desk.records()]
        encode, kind = choose_encoder(accept)
        return bytes(encode(self._registry)), kind

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        desk = self._desk
        hls = desk.last("hls")
        channels = [views.channel(desk, view, desk.last(f"channel-{view.id}"), hls) for view in desk.config.channels]
        yield from self._channels(channels)
        yield from self._sources(channels)
        yield from self._renditions(channels)
        yield from self._head_end()

    def _channels(self, channels: Iterable[models.Channel]) -> Iterator[Metric]:
        channels = list(channels)
        for name, text in _COUNTS.items():
            counter = CounterMetricFamily(f"headend_channel_{name}", text, labels=["channel"])
            for row in channels:
                counter.add_metric([row.id], getattr(row.counts, name))
            yield counter
        up = GaugeMetricFamily("headend_channel_up", "Whether the channel's worker answers", labels=["channel"])
        late = GaugeMetricFamily(
            "headend_channel_lateness_seconds", "By how much the last picture was late", labels=["channel"]
        )
        age = GaugeMetricFamily("headend_channel_last_frame_age_seconds", "Age of the last picture", labels=["channel"])
        delay = GaugeMetricFamily("headend_channel_delay_seconds", "Broadcast delay", labels=["channel"])
        modes = GaugeMetricFamily("headend_channel_mode", "1 for what is on air", labels=["channel", "mode"])
        gaps = CounterMetricFamily("headend_hls_gaps", "Segments tagged EXT-X-GAP", labels=["channel"])
        for row in channels:
            up.add_metric([row.id], float(row.reachable))
            late.add_metric([row.id], row.counts.lateness)
            delay.add_metric([row.id], row.delay)
            gaps.add_metric([row.id], row.gaps)
            if row.last_frame_age is not None:
                age.add_metric([row.id], row.last_frame_age)
            for mode in _MODES:
                modes.add_metric([row.id, mode], float(row.mode == mode))
        yield from (up, late, age, delay, modes, gaps)

    def _sources(self, channels: Iterable[models.Channel]) -> Iterator[Metric]:
        labels = ["channel", "source"]
        lamps = GaugeMetricFamily(
            "headend_source_state", "1 for the state that the source is in", labels=[*labels, "state"]
        )
        rate = GaugeMetricFamily("headend_source_bit_rate", "Arriving, bit/s", labels=labels)
        errors = CounterMetricFamily("headend_source_errors", "Errors of the source", labels=labels)
        reconnects = CounterMetricFamily("headend_source_reconnects", "Times it was connected again", labels=labels)
        for row in channels:
            # Items open sources of their own; only the configured ones have a place among the labels.
            fixed = {str(source.get("name")) for source in self._desk.channel(row.id).sources}
            for source in row.sources:
                if source.name not in fixed:
                    continue
                at = [row.id, source.name]
                for lamp in _LAMPS:
                    lamps.add_metric([*at, lamp], float(source.lamp == lamp))
                errors.add_metric(at, source.errors)
                reconnects.add_metric(at, source.reconnects)
                if source.bit_rate is not None:
                    rate.add_metric(at, source.bit_rate)
        yield from (lamps, rate, errors, reconnects)

    def _renditions(self, channels: Iterable[models.Channel]) -> Iterator[Metric]:
        labels = ["channel", "rendition"]
        rate = GaugeMetricFamily("headend_rendition_bit_rate", "Configured, bit/s", labels=labels)
        age = GaugeMetricFamily("headend_hls_segment_age_seconds", "Since the end of the last segment", labels=labels)
        for row in channels:
            for rendition in row.renditions:
                if rendition.bit_rate is not None:
                    rate.add_metric([row.id, rendition.name], rendition.bit_rate)
                if (seconds := self._desk.age(rendition.last_segment)) is not None:
                    age.add_metric([row.id, rendition.name], seconds)
        yield from (rate, age)

    def _head_end(self) -> Iterator[Metric]:
        restarts = CounterMetricFamily("headend_worker_restarts", "Restarts by the supervisor", labels=["worker"])
        for worker in self._workers:
            restarts.add_metric([worker.name], worker.restarts)
        yield restarts
        state = self._stream.state()
        yield GaugeMetricFamily("headend_events_listeners", "Clients that read events", value=state["listeners"])
        yield CounterMetricFamily("headend_events_dropped_clients", "Cut off, too slow", value=state["dropped_clients"])
        yield CounterMetricFamily("headend_api_unanswered", "Questions no worker answered", value=self._desk.timeouts)
        yield CounterMetricFamily("headend_api_wrong_tokens", "Wrong tokens", value=self._door.failures)
        yield GaugeMetricFamily(
            "headend_house_time_seconds", "House time since the epoch", value=_seconds(self._desk.clock.now())
        )


def _seconds(ticks: int) -> float:
    # Whole milliseconds fit a double without loss; ticks would not.
    return ticks // (house.TICKS_PER_SECOND // 1000) / 1000
