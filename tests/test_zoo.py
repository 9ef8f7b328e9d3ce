"""The zoo's names, and the bundle or weights each one leads to. The figures: ``models/test_figures.py``."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from ghostclas import zoo
from ghostclas.bundle import default_bundle_path
from ghostclas.errors import BundleError, UsageError
from ghostclas.spec import ModelSpec
from ghostclas.zoo import ZOO, fetch, locate, resolve_spec
from tests.downloads import CONTENT, Server


@pytest.mark.parametrize("name", ZOO)
def test_an_entry_agrees_with_itself(name: str) -> None:
    entry = ZOO[name]
    assert entry.name == entry.spec.name == name
    assert resolve_spec(name) == entry.spec
    assert entry.flops == 2 * entry.macs
    assert entry.weight_bytes == 4 * entry.state_values
    assert (entry.top1 is None) == (entry.accuracy_source is None)
    assert entry.top1 is not None or (entry.top5 is None and entry.url is None)
    assert all(resolve_spec(alias) == entry.spec for alias in entry.aliases)
    assert entry.url is None or entry.url.startswith("https://")
    assert entry.sha256 is None or len(bytes.fromhex(entry.sha256)) == 32


def test_timm_publishes_the_weights_that_the_zoo_says_and_no_others() -> None:
    timm = pytest.importorskip("timm")
    for name, entry in ZOO.items():
        if entry.origin == "timm":
            config = timm.get_pretrained_cfg(name)
            assert bool(config.hf_hub_id) == bool(entry.url)
            assert entry.url is None or f"{config.hf_hub_id}/resolve/" in entry.url


@pytest.mark.parametrize(
    ("name", "width", "flavour"),
    [
        ("ghostnet_x1_0", 1.0, "paddleclas"),
        ("ghostnet_x0_75", 0.75, "paddleclas"),
        ("ghostnet_x2_0", 2.0, "paddleclas"),
        ("GhostNet_x1_3", 1.3, "paddleclas"),
        ("ghostnet_x1_3_ssld", 1.3, "paddleclas"),
        ("ghostnet_050", 0.5, "original"),
        ("ghostnet_130", 1.3, "original"),
        ("timm/ghostnet_100.in1k", 1.0, "original"),
        ("ghostnet_075", 0.75, "original"),
        ("ghostnet_1x", 1.0, "original"),
        ("ghostnet_0.5x", 0.5, "original"),
        ("timm/ghostnetv2_130.in1k", 1.3, "original"),
        ("ghostnetv2_x1_6", 1.6, "original"),
        ("ghostnetv2_x0_75", 0.75, "original"),
        ("ghostnetv3_1x", 1.0, "original"),
    ],
)
def test_a_name_gives_its_width_and_flavour(name: str, width: float, flavour: str) -> None:
    spec = resolve_spec(name, num_classes=12)
    assert (spec.width, spec.flavour, spec.num_classes) == (width, flavour, 12)
    assert resolve_spec(spec.name, num_classes=12) == spec
    assert isinstance(spec, ModelSpec)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ghostnet_x1.0", "ghostnet_x1_0"),
        ("ghostnet_x1_3_sslld", "ghostnet_x1_3_ssld"),
        ("gostnet_100", "ghostnet_100"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, nearest: str) -> None:
    for resolve in (resolve_spec, locate, fetch):
        with pytest.raises(UsageError, match=rf"{name}'.*did you mean .*'{nearest}'"):
            resolve(name)


@pytest.mark.parametrize(
    ("name", "num_classes", "complaint"),
    [
        ("ghostnet_x0_0", 10, r"width 0\.0"),
        ("ghostnet_x9_0", 10, r"width 9\.0"),
        ("ghostnet_x1_0", 0, "num_classes 0"),
        ("ghostnet_100", -1, "num_classes -1"),
    ],
)
def test_an_impossible_network_is_refused(name: str, num_classes: int, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        resolve_spec(name, num_classes)


def test_default_is_the_built_in_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "default").mkdir()
    monkeypatch.chdir(tmp_path)
    assert locate("default").bundle_path == default_bundle_path()


def test_a_bundle_a_zip_and_a_run_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "bundle").mkdir(parents=True)
    (run / "bundle" / "manifest.json").write_text("{}")
    (tmp_path / "model.zip").write_bytes(b"")
    assert locate(run).bundle_path == run / "bundle"
    assert locate(str(run / "bundle")).bundle_path == run / "bundle"
    assert locate(tmp_path / "model.zip").bundle_path == tmp_path / "model.zip"

    monkeypatch.chdir(tmp_path)
    (run / "bundle").rename(tmp_path / "ghostnet_x1_0")
    assert locate("ghostnet_x1_0").bundle_path == Path("ghostnet_x1_0")


@pytest.mark.parametrize(
    ("word", "kind", "name"),
    [
        ("default", "bundle", "ghostnet_x1_0_tiny200"),
        ("runs/cats", "run", "cats"),
        ("runs/cats/", "run", "cats"),
        ("runs/cats/bundle", "bundle", "cats"),
        ("runs/cats/../cats/bundle", "bundle", "cats"),
        ("shop.zip", "bundle", "shop"),
        ("x.pdparams", "weights", "x.pdparams"),
        ("teacher.ONNX", "onnx", "teacher.ONNX"),
        ("GhostNet_x1_0", "network", "ghostnet_x1_0"),
        ("ghostnet_x0_75", "network", "ghostnet_x0_75"),
        ("efficientnet_lite1", "network", "efficientnet_lite1"),
        ("timm:mobilenetv3_large_100", "network", "timm:mobilenetv3_large_100"),
    ],
)
def test_a_word_means_one_thing(
    word: str, kind: str, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/cats/bundle").mkdir(parents=True)
    for file in ("runs/cats/bundle/manifest.json", "shop.zip", "x.pdparams", "teacher.ONNX"):
        Path(file).write_bytes(b"")
    located = locate(word)
    assert (located.kind, located.name) == (kind, name)
    assert (located.path is None) == (kind == "network")


def test_the_current_directory_may_be_the_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats" / "manifest.json").write_bytes(b"")
    monkeypatch.chdir(tmp_path / "cats")
    assert (locate(".").kind, locate(".").name) == ("bundle", "cats")


@pytest.mark.parametrize("url", ["https://example.com/model.zip", "s3://bucket/run"])
def test_a_url_gets_the_hint_to_download_it(url: str) -> None:
    for word in (url, Path(url)):
        with pytest.raises(UsageError, match="is a URL: download it first"):
            locate(word)


def test_an_onnx_file_is_neither_a_bundle_nor_weights(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"")
    located = locate(tmp_path / "net.onnx")
    with pytest.raises(UsageError, match="is an ONNX file, not a bundle"):
        _ = located.bundle_path
    with pytest.raises(UsageError, match="no weights are read from an ONNX file"):
        located.weights()


@pytest.mark.parametrize("word", ["", "default", "x.pdparams"])
def test_a_network_is_named_and_nothing_else(
    word: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.pdparams").write_bytes(b"")
    with pytest.raises(UsageError, match=r"a network is needed|no network is named ''"):
        resolve_spec(word)


def test_a_directory_without_a_bundle_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="neither a bundle nor a run"):
        locate(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(BundleError, match=r"has not finished.*\n.*--resume"):
        _ = locate(tmp_path).bundle_path


@pytest.mark.parametrize(
    "name", ["ghostnet_x1_3_ssld", "GhostNet_x1_0", "timm/ghostnet_100.in1k", "ghostnet_1x"]
)
def test_a_name_with_weights_only_says_how_to_make_a_bundle(name: str) -> None:
    with pytest.raises(UsageError, match=rf"ghostclas export --model {resolve_spec(name).name} --output"):
        _ = locate(name).bundle_path


@pytest.mark.parametrize("name", ["ghostnet_050", "ghostnet_130", "ghostnet_x0_75"])
def test_a_name_without_weights_says_so(name: str) -> None:
    with pytest.raises(UsageError, match=rf"nobody published weights for {name}; train it"):
        _ = locate(name).bundle_path


def test_a_file_of_weights_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "x.pdparams").write_bytes(b"")
    with pytest.raises(UsageError, match=r"x\.pdparams is no bundle.*\n.*ghostclas export --model"):
        _ = locate(tmp_path / "x.pdparams").bundle_path


def test_fetching_what_nobody_published_names_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="weights for ghostnet_050; there are some for ghostnet_x0_5,"):
        fetch("ghostnet_050", cache=tmp_path)


def test_fetch_keeps_a_file_under_the_name_of_its_entry(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    local = ZOO["ghostnet_x1_0"].model_copy(update={"url": server.url})
    monkeypatch.setattr(zoo, "ZOO", {**ZOO, "ghostnet_x1_0": local})
    file = fetch("GhostNet_x1_0", cache=tmp_path)
    assert file == tmp_path / "ghostnet_x1_0.pdparams"
    assert hashlib.sha256(file.read_bytes()).digest() == hashlib.sha256(CONTENT).digest()

    monkeypatch.chdir(tmp_path)
    assert locate("ghostnet_x1_0").weights(cache=tmp_path) == file
    assert locate(file).weights() == file
    assert locate("default").weights() == default_bundle_path()
    (tmp_path / "ghostnet_x1_0").mkdir()
    (tmp_path / "ghostnet_x1_0" / "manifest.json").write_bytes(b"")
    assert locate("ghostnet_x1_0").weights(cache=tmp_path) == Path("ghostnet_x1_0")

    wrong = local.model_copy(update={"sha256": "0" * 64})
    monkeypatch.setattr(zoo, "ZOO", {**ZOO, "ghostnet_x1_0": wrong})
    with pytest.raises(BundleError, match="not the file that was published"):
        fetch("ghostnet_x1_0", cache=tmp_path / "fresh")


def test_importing_the_zoo_imports_neither_torch_nor_a_downloader() -> None:
    program = "import sys, ghostclas.zoo; print({'torch', 'pooch', 'requests'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
