"""A configuration of PaddleClas becomes a recipe: no key is lost in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ghostclas.cli import main
from ghostclas.errors import DataError
from ghostclas.training.config import resolve_config
from ghostclas.training.paddle_config import _leaves, convert_config
from tests.training.photos import photo_folder

NORMALISE = {
    "NormalizeImage": {
        "scale": "1.0/255.0",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "order": "",
    }
}
DECODE = {"DecodeImage": {"to_rgb": True, "channel_first": False}}
EVALUATE = [DECODE, {"ResizeImage": {"resize_short": 256}}, {"CropImage": {"size": 224}}, NORMALISE]


def loader(kind: str, steps: list[Any], batch: int, shuffle: bool) -> dict[str, Any]:
    return {
        "dataset": {
            "name": "ImageNetDataset",
            "image_root": "./dataset/ILSVRC2012/",
            "cls_label_path": f"./dataset/ILSVRC2012/{kind}_list.txt",
            "transform_ops": steps,
        },
        "sampler": {
            "name": "DistributedBatchSampler",
            "batch_size": batch,
            "drop_last": False,
            "shuffle": shuffle,
        },
        "loader": {"num_workers": 4, "use_shared_memory": True},
    }


def document() -> dict[str, Any]:
    """The settings of PaddleClas' GhostNet x1.0, by its keys."""
    train = [DECODE, {"RandCropImage": {"size": 224}}, {"RandFlipImage": {"flip_code": 1}}, NORMALISE]
    topk = [{"TopkAcc": {"topk": [1, 5]}}]
    return {
        "Global": {
            "checkpoints": None,
            "pretrained_model": None,
            "output_dir": "./output/",
            "device": "gpu",
            "save_interval": 1,
            "eval_during_train": True,
            "eval_interval": 1,
            "epochs": 360,
            "print_batch_step": 10,
            "use_visualdl": False,
            "image_shape": [3, 224, 224],
            "save_inference_dir": "./inference",
        },
        "AMP": {
            "use_amp": False,
            "use_fp16_test": False,
            "scale_loss": 128.0,
            "use_dynamic_loss_scaling": True,
            "use_promote": False,
            "level": "O1",
        },
        "Arch": {"name": "GhostNet_x1_0", "class_num": 1000},
        "Loss": {
            "Train": [{"CELoss": {"weight": 1.0, "epsilon": 0.1}}],
            "Eval": [{"CELoss": {"weight": 1.0}}],
        },
        "Optimizer": {
            "name": "Momentum",
            "momentum": 0.9,
            "lr": {"name": "Cosine", "learning_rate": 0.8, "warmup_epoch": 5},
            "regularizer": {"name": "L2", "coeff": "4e-5"},
        },
        "DataLoader": {
            "Train": loader("train", train, 512, True),
            "Eval": loader("val", EVALUATE, 64, False),
        },
        "Infer": {
            "infer_imgs": "photo.jpg",
            "batch_size": 10,
            "transforms": [*EVALUATE, {"ToCHWImage": None}],
            "PostProcess": {"name": "Topk", "topk": 5, "class_id_map_file": "labels.txt"},
        },
        "Metric": {"Train": topk, "Eval": topk},
    }


def write(folder: Path, content: Any) -> Path:
    file = folder / "theirs.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return file


def test_every_key_of_ghostnet_is_mapped_or_named(tmp_path: Path) -> None:
    made = convert_config(write(tmp_path, document()))
    keys = dict(_leaves(document()))
    assert len(keys) > 60
    assert made.mapped.keys() | made.without.keys() == keys.keys()
    assert not made.mapped.keys() & made.without.keys()


def test_the_recipe_trains_as_theirs(tmp_path: Path) -> None:
    command = ["convert-config", str(write(tmp_path, document())), "--output", str(tmp_path / "ours.yaml")]
    assert main(command) == 0
    config = resolve_config(str(tmp_path / "ours.yaml"), ["data.path=x"])
    assert config.model.name == "ghostnet_x1_0"
    optimizer = config.optimizer
    assert (optimizer.name, optimizer.lr, optimizer.lr_batch, optimizer.momentum) == ("sgd", 0.8, None, 0.9)
    assert (optimizer.nesterov, optimizer.weight_decay, optimizer.no_decay) == (False, 4e-5, ("norm",))
    assert (config.schedule.epochs, config.schedule.warmup_epochs) == (360, 5)
    assert (config.loop.batch_size, config.loop.label_smoothing, config.loop.ema) == (512, 0.1, 0)
    assert (config.data.resolution, config.data.eval_resolution, config.data.eval_resize) == (224, 224, 256)
    assert (config.augment.crop_scale, config.augment.flip) == ((0.08, 1.0), 0.5)


def test_the_recipe_goes_to_stdout_and_the_keys_to_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert-config", str(write(tmp_path, document()))]) == 0
    shown = capsys.readouterr()
    assert yaml.safe_load(shown.out)["optimizer"]["lr"] == 0.8
    assert "Optimizer.lr.learning_rate -> optimizer.lr\n" in shown.err
    assert "AMP.use_amp: no counterpart; loop.precision\n" in shown.err


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("Optimizer.lr.name", "Piecewise", "Optimizer.lr.name is 'Piecewise'; there is: Cosine"),
        ("Optimizer.name", "RMSProp", "Optimizer.name is 'RMSProp'"),
        ("Optimizer.lr.learning_rate", "__import__('os')", "learning_rate is no number"),
        ("Arch.name", "ResNet50", "no .*'resnet50'"),
        ("Arch.dropout_prob", 0.5, "Arch.dropout_prob = '0.5' has no counterpart and may change"),
        (
            "DataLoader.Train.dataset.batch_transform_ops",
            [{"MixupOperator": {"alpha": 0.2}}],
            "MixupOperator",
        ),
        ("DataLoader.Eval.dataset.transform_ops", [{"PadImage": {}}], "PadImage, which is not known"),
        ("Global.image_shape", [3, 80, 160], "only squares are trained"),
        ("Loss.Train", [{"MultiLabelLoss": {"weight": 1.0}}], "MultiLabelLoss"),
        (
            "DataLoader.Train.dataset.name",
            "MultiLabelDataset",
            r"Train\.dataset\.name is 'MultiLabelDataset', where one class an image is learned",
        ),
        (
            "DataLoader.Eval.dataset.delimiter",
            "::",
            r"Eval\.dataset\.delimiter is '::'; there are: '\\t', ' '",
        ),
        ("DataLoader.Train.dataset.relabel", True, "relabel has no counterpart: number the classes from 0"),
    ],
)
def test_what_would_train_something_else_is_refused(path: str, value: Any, said: str, tmp_path: Path) -> None:
    content = document()
    *groups, name = path.split(".")
    inside = content
    for group in groups:
        inside = inside[group]
    inside[name] = value
    with pytest.raises(DataError, match=said):
        convert_config(write(tmp_path, content))


@pytest.mark.parametrize(
    ("text", "said"), [("a: [", "not valid YAML"), ("- 1", "no Arch"), ("x: 1", "no Arch")]
)
def test_what_is_no_configuration_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        convert_config(tmp_path / "a.yaml")


def test_lists_and_class_maps_are_looked_at_where_they_are(tmp_path: Path) -> None:
    content = document()
    train = content["DataLoader"]["Train"]["dataset"]
    train |= {"cls_label_path": "train_list.txt", "delimiter": "\t"}
    (tmp_path / "train_list.txt").write_text("a.jpg\t0\tx\nb.jpg\t1\ty\n", encoding="utf-8")
    (tmp_path / "labels.txt").write_bytes("0 小狗\n1 猫\n".encode("gbk"))
    made = convert_config(write(tmp_path, content))
    assert made.recipe["data"]["label_file"] == str(tmp_path / "labels.txt")
    assert made.mapped["Infer.PostProcess.class_id_map_file"] == "data.label_file"
    assert made.without["DataLoader.Train.dataset.delimiter"] == "it is found in the list"
    (tmp_path / "train_list.txt").write_text("a.jpg\t0,1,0\nb.jpg\t1,0,0\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"train_list\.txt, whose line 1 has several labels; one class"):
        convert_config(write(tmp_path, content))
    (tmp_path / "train_list.txt").unlink()
    (tmp_path / "labels.txt").write_bytes(b"0 \xff\n")
    with pytest.raises(DataError, match=r"labels\.txt is not UTF-8 text"):
        convert_config(write(tmp_path, content))


def test_a_converted_list_trains_with_its_columns_and_names(tmp_path: Path) -> None:
    from ghostclas.training.run import splits_of

    folder = photo_folder(tmp_path / "photos")
    photos = sorted((folder / "train").rglob("*.png"))
    lines = [f"{photo.relative_to(folder).as_posix()}\t{index % 2}\tx" for index, photo in enumerate(photos)]
    (folder / "train_list.txt").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "labels.txt").write_bytes("0 小狗\n1 猫\n".encode("gbk"))
    recipe = tmp_path / "ours.yaml"
    assert main(["convert-config", str(write(tmp_path, document())), "--output", str(recipe)]) == 0
    config = resolve_config(str(recipe), [f"data.path={folder / 'train_list.txt'}"])
    splits = splits_of(config)
    assert splits.train.classes == ("小狗", "猫")
    assert any("the first two columns are read" in note for note in splits.notes)
