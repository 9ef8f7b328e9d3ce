"""PaddleClas' own way from photos to scores: its ``deploy/python/preprocess.py``, then Paddle Inference.

    python paddleclas_predicts.py PACKAGES EXPORTED PHOTOS ANSWER

Runs in a Python that has paddlepaddle and OpenCV. PACKAGES is the folder of packages that paddleclas is in.
EXPORTED has ``inference.json``, ``inference.pdiparams`` and ``inference.yml``. PHOTOS is a JSON list of image
files, and ANSWER a ``.npy`` of what the program gives, float32 ``[N, C]``. PaddleClas' own predictor asks for
a pass that Paddle 3 no longer has, so this one is made here, with oneDNN.
"""

import importlib
import json
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import yaml
from paddle import inference

BATCH = 10


def main(packages: Path, exported: Path, photos: list[str], answer: Path) -> None:
    # Its packages import all of PaddleClas, of which only the preprocessing is used.
    sys.path.append(str(packages))
    for name in ("paddleclas", "paddleclas.deploy", "paddleclas.deploy.python"):
        package = types.ModuleType(name)
        package.__path__ = [str(packages / name.replace(".", "/"))]
        sys.modules[name] = package
    preprocess = importlib.import_module("paddleclas.deploy.python.preprocess")
    document = yaml.safe_load((exported / "inference.yml").read_text(encoding="utf-8"))
    operators = preprocess.create_operators(document["PreProcess"]["transform_ops"])
    config = inference.Config(*(str(exported / f"inference.{suffix}") for suffix in ("json", "pdiparams")))
    config.disable_glog_info()
    config.disable_gpu()
    config.enable_mkldnn()
    config.set_cpu_math_library_num_threads(1)
    predictor = inference.create_predictor(config)
    source = predictor.get_input_handle(predictor.get_input_names()[0])
    result = predictor.get_output_handle(predictor.get_output_names()[0])
    scores = []
    for start in range(0, len(photos), BATCH):
        planes = []
        for file in photos[start : start + BATCH]:
            decoded = cv2.imread(file)
            assert decoded is not None, file
            image = decoded[:, :, ::-1]
            for operate in operators:
                image = operate(image)
            planes.append(image)
        source.copy_from_cpu(np.array(planes))
        predictor.run()
        scores.append(result.copy_to_cpu())
    np.save(answer, np.concatenate(scores))


if __name__ == "__main__":
    _, packages_folder, exported_folder, photos_file, answer_file = sys.argv
    chosen = json.loads(Path(photos_file).read_text(encoding="utf-8"))
    main(Path(packages_folder), Path(exported_folder), chosen, Path(answer_file))
