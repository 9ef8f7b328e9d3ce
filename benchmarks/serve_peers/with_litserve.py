"""LitServe: one worker, and batches of at most 8 that wait for at most 1 ms."""

from __future__ import annotations

import base64

import litserve
from common import arguments, label, load

ARGUMENTS = arguments()


class API(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.classifier = load(ARGUMENTS.bundle, ARGUMENTS.engine)

    # An annotation of the request would be taken for the type of its body.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        return base64.b64decode(request["image"])

    def batch(self, inputs: list[bytes]) -> list[bytes]:
        return inputs

    def predict(self, inputs: list[bytes]) -> list[str]:
        return label(self.classifier, inputs)

    def unbatch(self, output: list[str]) -> list[str]:
        return output

    def encode_response(self, output):  # type: ignore[no-untyped-def]
        return {"prediction": output}


if __name__ == "__main__":
    server = litserve.LitServer(
        API(max_batch_size=8, batch_timeout=0.001), accelerator="cpu", workers_per_device=1
    )
    server.run(host="127.0.0.1", port=ARGUMENTS.port, generate_client_file=False, log_level="warning")
