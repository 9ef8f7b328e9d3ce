"""Prometheus metrics."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from ghostclas.serve.access_log import Record
from ghostclas.serve.metrics import DIRECTORY, Metrics
from ghostclas.serve.service import Request
from tests.serve.served import builtin_model, jpeg, serving

CODE = """
import json, os, sys
from ghostclas.serve.access_log import Record
from ghostclas.serve.metrics import Metrics, forget_worker
metrics = Metrics()
for _ in range(int(sys.argv[1])):
    metrics.request(Record("http", "POST /predict", "200", 0.01, model="pets", images=2))
metrics._ready.set(1)
if len(sys.argv) > 2:
    forget_worker(int(sys.argv[2]), os.environ["PROMETHEUS_MULTIPROC_DIR"])
print(json.dumps([os.getpid(), metrics.page().content.decode()]))
"""


def worker(folder: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        env={**os.environ, DIRECTORY: str(folder)},
        check=True,
        capture_output=True,
        text=True,
    )
    process, page = json.loads(done.stdout)
    return process, page


def test_requests_batches_and_the_queue_are_counted() -> None:
    metrics = Metrics()
    with serving(builtin_model("pets", batch=4)) as service:
        service._batcher._observe = metrics.batch
        asyncio.run(service.answer(Request([jpeg()])))
        metrics.look_at(service, dropped=3)
    metrics.request(Record("http", "POST /predict", "200", 0.02, model="pets", images=1))
    metrics.request(Record("grpc", "ModelInfer", "UNAVAILABLE", 0.001, kind="full"))
    metrics.reload("pets", changed=False)
    page = metrics.page()
    assert "version=" in page.content_type
    lines = page.content.decode().splitlines()
    for line in (
        'ghostclas_requests_total{kind="none",protocol="http",status="200"} 1.0',
        'ghostclas_requests_total{kind="full",protocol="grpc",status="UNAVAILABLE"} 1.0',
        'ghostclas_images_total{model="pets"} 1.0',
        'ghostclas_reloads_total{model="pets",result="refused"} 1.0',
        'ghostclas_stage_seconds_count{stage="queue"} 1.0',
        'ghostclas_stage_seconds_count{stage="inference"} 1.0',
        'ghostclas_batch_images_bucket{le="1.0"} 1.0',
        'ghostclas_request_seconds_count{protocol="http"} 1.0',
        "ghostclas_queue_images 0.0",
        "ghostclas_ready_workers 1.0",
        "ghostclas_log_lines_dropped 3.0",
    ):
        assert line in lines


def test_workers_answer_with_their_sum_and_a_dead_ones_gauges_are_forgotten(tmp_path: Path) -> None:
    first, _ = worker(tmp_path, "2")
    _, page = worker(tmp_path, "3")
    assert 'ghostclas_requests_total{kind="none",protocol="http",status="200"} 5.0' in page
    assert "ghostclas_ready_workers 2.0" in page
    _, page = worker(tmp_path, "0", str(first))
    assert 'ghostclas_images_total{model="pets"} 10.0' in page
    assert "ghostclas_ready_workers 2.0" in page
