"""Prometheus metrics of the server.

Several worker processes share one set: where ``PROMETHEUS_MULTIPROC_DIR`` is set when this module is
imported, each worker writes its figures into that folder, and any of them answers with their sum.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import NamedTuple

from ghostclas.extras import require
from ghostclas.serve.access_log import Record
from ghostclas.serve.batching import BatchReport
from ghostclas.serve.service import Service

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_IMAGES = (1, 2, 4, 8, 16, 32, 64)
DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


class Page(NamedTuple):
    """The text of ``/metrics`` and its media type."""

    content: bytes
    content_type: str


class Metrics:
    """The figures of one process, or of all workers.

    Raises:
        MissingExtraError: prometheus-client is not installed.
    """

    def __init__(self) -> None:
        client = require("prometheus_client", extra="serve")
        self._client = client
        self._registry = client.CollectorRegistry()
        self._lock = threading.Lock()
        own = {"registry": self._registry, "namespace": "ghostclas"}
        gauge = {**own, "multiprocess_mode": "livesum"}
        self._requests = client.Counter(
            "requests", "Requests that ended.", ["protocol", "status", "kind"], **own
        )
        self._seconds = client.Histogram(
            "request_seconds",
            "From a request's first byte to its answer.",
            ["protocol"],
            buckets=_SECONDS,
            **own,
        )
        self._images = client.Counter("images", "Images that were answered.", ["model"], **own)
        stages = client.Histogram(
            "stage_seconds", "Seconds of a batch in each stage.", ["stage"], buckets=_SECONDS, **own
        )
        self._stages = {stage: stages.labels(stage) for stage in ("queue", "decode", "inference")}
        self._batch = client.Histogram("batch_images", "Images of a batch.", buckets=_IMAGES, **own)
        self._reloads = client.Counter("reloads", "Hot reloads of a model.", ["model", "result"], **own)
        self._dropped = client.Gauge("log_lines_dropped", "Lines that the access log left out.", **gauge)
        self._waiting = client.Gauge("queue_images", "Images that wait for a thread.", **gauge)
        self._bytes = client.Gauge("queue_bytes", "Bytes of the images that wait.", **gauge)
        self._pending = client.Gauge("pending_requests", "Requests without an answer yet.", **gauge)
        self._ready = client.Gauge("ready_workers", "Workers that answer requests.", **gauge)

    def batch(self, report: BatchReport) -> None:
        """Count a batch; the threads call it."""
        if report.images:
            self._stages["queue"].observe(report.waited)
            self._stages["decode"].observe(report.decoding)
            self._stages["inference"].observe(report.inference)
            self._batch.observe(report.images)

    def request(self, record: Record) -> None:
        """Count a request that ended."""
        self._requests.labels(record.protocol, record.status, record.kind or "none").inc()
        self._seconds.labels(record.protocol).observe(record.seconds)
        if record.images and record.model:
            self._images.labels(record.model).inc(record.images)

    def reload(self, model: str, *, changed: bool) -> None:
        """Count a hot reload."""
        self._reloads.labels(model, "changed" if changed else "refused").inc()

    def look_at(self, service: Service, dropped: int = 0) -> None:
        """Take the queue's length and the readiness as they are now."""
        self._waiting.set(service.waiting)
        self._bytes.set(service.waiting_bytes)
        self._pending.set(service.pending)
        self._ready.set(int(service.ready))
        self._dropped.set(dropped)

    def page(self) -> Page:
        """Return the text of ``/metrics``: of all workers where there are several."""
        registry = self._registry
        if os.environ.get(DIRECTORY):
            registry = self._client.CollectorRegistry()
            require("prometheus_client.multiprocess", extra="serve").MultiProcessCollector(registry)
        return Page(self._client.generate_latest(registry), self._client.CONTENT_TYPE_LATEST)


def forget_worker(process: int, folder: Path) -> None:
    """Take the gauges of a worker that has ended out of the sum; its counters stay."""
    require("prometheus_client.multiprocess", extra="serve").mark_process_dead(process, str(folder))
