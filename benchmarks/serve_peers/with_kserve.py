"""KServe's model server: the v1 protocol, one process, no gRPC and no access log."""

from __future__ import annotations

import asyncio
import base64
import logging
from typing import Any

import kserve
from common import MODEL, arguments, label, load

ARGUMENTS = arguments()


class Ghost(kserve.Model):
    def __init__(self) -> None:
        super().__init__(MODEL)
        self.classifier = load(ARGUMENTS.bundle, ARGUMENTS.engine)
        self.ready = True

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        images = [base64.b64decode(instance["b64"]) for instance in payload["instances"]]
        return {"predictions": await asyncio.to_thread(label, self.classifier, images)}


if __name__ == "__main__":
    logging.disable(logging.INFO)
    kserve.ModelServer(http_port=ARGUMENTS.port, workers=1, enable_grpc=False).start([Ghost()])
