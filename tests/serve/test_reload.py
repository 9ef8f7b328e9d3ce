"""Hot reload, all models or none."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ghostclas.bundle import Bundle, copy_bundle, update_manifest
from ghostclas.serve.opening import Opening, open_model
from ghostclas.serve.reload import Reloader
from ghostclas.serve.service import Request, Service
from tests.serve.served import builtin_bundle, jpeg, serving

HOW = Opening(engine="onnxruntime", batch=1)


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, str]:
    return {name: str(copy_bundle(builtin_bundle(), tmp_path / name).path) for name in ("one", "two")}


def change(folder: str, note: str) -> None:
    update_manifest(Bundle.open(folder), provenance={"note": note})


def damage(folder: str) -> None:
    file = Path(folder) / "model.onnx"
    content = bytearray(file.read_bytes())
    content[100] ^= 255
    file.write_bytes(content)


def test_every_model_that_changed_is_exchanged_and_the_others_stay(
    folders: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    counted: list[tuple[str, bool]] = []

    async def check(service: Service) -> None:
        reloader = Reloader(service, folders, HOW, lambda *args: counted.append(args))
        one, two = map(service.model, folders)
        assert await reloader.reload()
        assert (service.model("one"), service.model("two")) == (one, two)
        change(folders["two"], "new")
        assert await reloader.reload()
        assert service.model("one") is one
        assert service.model("two").version != two.version
        answer = await service.answer(Request([jpeg()], model="two"))
        assert answer.model is service.model("two")

    with serving(*(open_model(name, where, HOW) for name, where in folders.items())) as service:
        asyncio.run(check(service))
    assert counted == [("two", True)]
    assert "reloaded: two (version" in capsys.readouterr().err


def test_one_bad_bundle_keeps_all_models(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    counted: list[tuple[str, bool]] = []

    async def check(service: Service) -> None:
        reloader = Reloader(service, folders, HOW, lambda *args: counted.append(args))
        before = [*map(service.model, folders)]
        change(folders["one"], "good")
        change(folders["two"], "bad")
        damage(folders["two"])
        assert not await reloader.reload()
        assert [*map(service.model, folders)] == before
        for name in folders:
            assert (await service.answer(Request([jpeg()], model=name))).first_error() is None

    with serving(*(open_model(name, where, HOW) for name, where in folders.items())) as service:
        asyncio.run(check(service))
    assert counted == [("two", False)]
    assert "error: two is not reloaded, and nothing changed" in capsys.readouterr().err
