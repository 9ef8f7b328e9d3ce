"""The HTTP application in replicas of Ray Serve, which balances, restarts and scales them.

    pip install 'ghostclas[serve]' 'ray[serve]'
    serve run deploy.ray_serve:app

Tried with Ray 2.60 on one machine: two replicas, one of them killed (``tests/serve/http/test_ray.py``). Not
tried: a cluster of several machines, autoscaling. Ray's proxy reads headers and bodies within limits of its
own; those of ``ghostclas serve`` on slow clients and connections do not hold there. ``/metrics`` is that of
one replica.
"""

from __future__ import annotations

import os

from ray import serve

from ghostclas.serve import Limits, Service
from ghostclas.serve.http.app import App
from ghostclas.serve.metrics import Metrics
from ghostclas.serve.opening import Opening, open_model, parse_models


@serve.deployment(
    num_replicas=2,
    ray_actor_options={"num_cpus": 1},
    health_check_period_s=2,
    graceful_shutdown_timeout_s=30,
)
@serve.ingress()
class Ghostclas:
    """One replica: the models, and the application in front of them."""

    def __init__(self, models: list[str]) -> None:
        metrics = Metrics()
        self._service = Service(
            [open_model(name, where, Opening()) for name, where in parse_models(models).items()],
            Limits(),
            observe=metrics.batch,
        )

        def page() -> object:
            metrics.look_at(self._service)
            return metrics.page()

        self._app = App(self._service, record=metrics.request, metrics=page)

    def __serve_build_asgi_app__(self) -> App:
        """Return the application, as Ray asks for it."""
        return self._app

    def check_health(self) -> None:
        """Raise if a batch hangs, so that Ray replaces this replica."""
        if self._service.hung:
            raise RuntimeError("a batch hangs")

    def __del__(self) -> None:
        self._service.close()


app = Ghostclas.bind(os.environ.get("GHOSTCLAS_MODELS", "default").split())
