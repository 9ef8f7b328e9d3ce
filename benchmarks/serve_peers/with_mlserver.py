"""MLServer: in one process, without adaptive batching, which would wait for more requests."""

from __future__ import annotations

import asyncio
import base64
import logging

from common import MODEL, arguments, label, load
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

ARGUMENTS = arguments()


class Ghost(MLModel):
    async def load(self) -> bool:
        self.classifier = load(ARGUMENTS.bundle, ARGUMENTS.engine)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        images = [base64.b64decode(image) for image in payload.inputs[0].data]
        answers = await asyncio.to_thread(label, self.classifier, images)
        output = StringCodec.encode_output("prediction", answers)
        return InferenceResponse(model_name=self.name, outputs=[output])


async def serve() -> None:
    server = MLServer(
        Settings(
            host="127.0.0.1",
            http_port=ARGUMENTS.port,
            grpc_port=ARGUMENTS.port + 1,
            metrics_port=ARGUMENTS.port + 2,
            parallel_workers=0,
            debug=False,
        )
    )
    logging.disable(logging.INFO)
    await server.start([ModelSettings(name=MODEL, implementation=Ghost)])


if __name__ == "__main__":
    asyncio.run(serve())
