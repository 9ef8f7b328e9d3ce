"""The OpenAPI document, against a validator and against the server."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources
from pathlib import Path

import jsonschema_rs
import pytest

from ghostclas.serve.http import people
from ghostclas.serve.http.openapi import document
from ghostclas.serve.limits import Limits
from ghostclas.serve.metrics import Metrics
from ghostclas.spec import Prediction
from tests.serve.http.servers import http_server
from tests.serve.served import builtin_model, jpeg

SETTINGS = """
# 501 refuses extensions, and 504 is the answer to a timeout of next to nothing.
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 501, 504]

# A schema cannot say that data has the shape that stands beside it, and that it is a picture.
[[operations]]
include-path-regex = "/infer$"
checks.positive_data_acceptance.enabled = false
"""


@pytest.mark.slow
def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(SETTINGS, encoding="utf-8")
    metrics = Metrics()
    with http_server(builtin_model("one"), builtin_model("two"), metrics=metrics.page) as server:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
            *("--max-examples", "3", "--phases", "coverage,fuzzing", "--no-color", "--seed", "3"),
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        assert "Tested: 14" in done.stdout
        server.assert_answers()


def test_the_document_names_every_path_model_and_limit() -> None:
    described = document(["one", "two"], Limits(body_bytes=1234), secured=False)
    assert described["openapi"] == "3.1.0"
    assert set(described["paths"]) == {
        *("/", "/predict", "/models", "/status", "/metrics", "/openapi.json", "/v2"),
        *("/v2/health/live", "/v2/health/ready"),
        *("/v2/models/{name}", "/v2/models/{name}/ready", "/v2/models/{name}/infer"),
        "/v2/models/{name}/versions/{version}",
        "/v2/models/{name}/versions/{version}/ready",
        "/v2/models/{name}/versions/{version}/infer",
    }
    predict = described["paths"]["/predict"]["post"]
    assert {parameter["name"] for parameter in predict["parameters"]} == set(people.SETTINGS)
    assert predict["parameters"][1]["schema"] == {"enum": ["one", "two"]}
    assert "1234" in predict["requestBody"]["description"]
    assert "security" not in described


def test_a_document_of_a_server_with_a_token_asks_for_it_where_it_is_needed() -> None:
    described = document(["one"], Limits(), secured=True)
    assert described["security"] == [{"bearer": []}]
    assert described["paths"]["/v2/health/ready"]["get"]["security"] == []
    assert "security" not in described["paths"]["/predict"]["post"]


def test_predictions_have_the_documents_schema() -> None:
    described = document(["one"], Limits(), secured=False)
    schema = {**described["components"]["schemas"]["Prediction"], "components": described["components"]}
    with http_server() as server:
        for data in (jpeg(), b"no image"):
            found = server.predict(data).json
            jsonschema_rs.validate(schema, found)
            Prediction.model_validate(found)


def test_the_page_is_in_the_package() -> None:
    folder = resources.files("ghostclas.serve.http") / "page"
    assert {file.name for file in folder.iterdir()} == {"index.html", "app.js", "style.css", "icon.svg"}
