"""BentoML: one worker, the image as the body."""

# BentoML reads the annotations themselves.
import os
import sys
from pathlib import Path
from typing import Annotated

import bentoml
from bentoml.validators import ContentType
from common import arguments, label, load


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Ghost:
    def __init__(self) -> None:
        self.classifier = load(os.environ["SERVE_BUNDLE"], os.environ["SERVE_ENGINE"])

    @bentoml.api
    def predict(self, image: Annotated[Path, ContentType("image/jpeg")], /) -> str:
        return label(self.classifier, [image.read_bytes()])[0]


if __name__ == "__main__":
    port, bundle, engine = arguments()
    os.environ.update(SERVE_BUNDLE=bundle, SERVE_ENGINE=engine, BENTOML_DO_NOT_TRACK="true")
    os.chdir(Path(__file__).parent)
    words = ["serve", "with_bentoml:Ghost", "--host", "127.0.0.1", "--port", str(port)]
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", *words])
