"""The application under Ray Serve; ``deploy/ray_serve.py`` says how to install it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.examples import ROOT
from tests.serve.http.servers import best
from tests.serve.served import jpeg

PYTHON = ROOT / ".venvs" / "ray" / "bin" / "python"


@pytest.mark.skipif(not PYTHON.exists(), reason="there is no Ray in .venvs/ray")
@pytest.mark.slow
def test_two_replicas_of_which_one_is_killed_answer_and_are_two_again(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(jpeg(1))
    script = Path(__file__).parent / "clients" / "ray_replicas.py"
    # Without a token for the cluster, Ray would write one into the home directory.
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [PYTHON, script, photo], capture_output=True, text=True, timeout=400, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    label = best(1)[0][0]
    assert set(result["before"]) == set(result["after"]) == {label}
    assert label in result["during"]
    assert set(result["during"]) <= {label, "500", "503"}
    assert result["replicas"] == [2, 2]
