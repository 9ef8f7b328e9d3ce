"""Ctrl-C ends a verb whose runtime computes without end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from ghostclas.engines import trials
from tests.engines.linear import bundle_of, linear_model


def long_model() -> bytes:
    """A plain graph that multiplies large matrices for hours."""
    model = linear_model()
    graph = model.graph
    graph.node[-1].output[0] = "answer"
    graph.initializer.append(numpy_helper.from_array(np.array([3000, 3000]), "sizes"))
    small = numpy_helper.from_array(np.array([1e-4], np.float32))
    graph.node.append(helper.make_node("ConstantOfShape", ["sizes"], ["large"], value=small))
    last = "large"
    for number in range(5000):
        graph.node.append(helper.make_node("MatMul", [last, "large"], [f"large_{number}"]))
        last = f"large_{number}"
    graph.initializer.append(numpy_helper.from_array(np.array([0, 1]), "both"))
    graph.node.append(helper.make_node("ReduceMean", [last, "both"], ["one"], keepdims=0))
    graph.node.append(helper.make_node("Add", ["answer", "one"], ["logits"]))
    return bytes(model.SerializeToString())


def cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("photos", [1, 40])
def test_a_graph_without_end_does_not_outlive_ctrl_c(tmp_path: Path, photos: int) -> None:
    bundle = bundle_of(long_model(), tmp_path / "bundle")
    # In a trial it would be stopped after a minute.
    trials.remember("onnxruntime", bundle.file())
    (tmp_path / "photos").mkdir()
    for number in range(photos):
        Image.new("RGB", (40, 40)).save(tmp_path / "photos" / f"{number}.png")
    command = ["-m", "ghostclas", "predict", str(tmp_path / "photos"), "--model", str(bundle.path)]
    with subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Where the tests run in the background, a shell has let them ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            while cpu_seconds(process.pid) < 4:  # by then it computes
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, said.decode()


OPENS_SLOWLY = """
import os, signal, time
from ghostclas.engines.onnxruntime import in_its_own_thread

def opens():
    time.sleep(0.3)  # by then the caller waits
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)
    print("opened", flush=True)

try:
    in_its_own_thread(opens)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="it sends itself a signal, which ends it on Windows")
def test_ctrl_c_while_a_model_is_opened_waits_for_its_thread() -> None:
    done = subprocess.run([sys.executable, "-c", OPENS_SLOWLY], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["interrupted", "opened"], "")
