"""`/metrics`: what the server counts, as Prometheus reads it. Counts nothing itself."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from .studio import Studio

CONTENT_TYPE = CONTENT_TYPE_LATEST


class _Counts(Collector):
    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def collect(self) -> Iterator[Metric]:
        sources = self._studio.sources
        asked = CounterMetricFamily(
            "auralis_fingerprint_lookups",
            "How often a fingerprint source was asked, by how it ended.",
            labels=("source", "outcome"),
        )
        for name, counts in sources.counts().items():
            for outcome, count in counts.items():
                asked.add_metric((name, outcome.value), count)
        yield asked
        healthy = GaugeMetricFamily(
            "auralis_fingerprint_source_healthy",
            "1 while the last answer of a source was sound, 0 while it fails or is not asked.",
            labels=("source",),
        )
        for row in sources.rows():
            healthy.add_metric((row.name,), row.state == "ok")
        yield healthy
        yield GaugeMetricFamily(
            "auralis_fingerprint_searches", "Searches for a fingerprint under way.", sources.flights
        )
        yield GaugeMetricFamily("auralis_streams", "Streams playing.", self._studio.streams)


def render(studio: Studio) -> bytes:
    """The text Prometheus asks for, as things stand."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Counts(studio))
    return generate_latest(registry)
