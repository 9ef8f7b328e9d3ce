"""The recipe for few photos fits itself to their number."""

from math import ceil

import pytest

from ghostclas.training.config import resolve_config
from ghostclas.training.fitting import FAR_EPOCHS, FITTED, KEPT, VIEWS, small
from ghostclas.training.recipes import recipe_names


def test_each_recipe_that_fits_itself_exists() -> None:
    assert FITTED.keys() <= set(recipe_names())


@pytest.mark.parametrize("images", [1, 2, 80, 240, 399])
def test_few_images_keep_a_share_of_the_start(images: int) -> None:
    settings = small(images)
    schedule, loop = settings["schedule"], settings["loop"]
    steps = ceil(images / loop["batch_size"])
    assert schedule["warmup_epochs"] < schedule["epochs"] / 10
    assert 1 <= loop["validate_every"] <= schedule["epochs"]
    assert loop["ema"] ** (steps * schedule["epochs"]) == pytest.approx(KEPT, rel=0.02)


@pytest.mark.parametrize("images", [400, 900, 1_001, 2_000, 50_000])
def test_many_images_are_seen_no_more_often_than_they_need(images: int) -> None:
    least, most = FAR_EPOCHS
    epochs = small(images)["schedule"]["epochs"]
    assert least <= epochs <= most
    assert images * epochs <= VIEWS or epochs == least
    assert epochs == most or images * (epochs + 1) > VIEWS


def test_fewer_images_move_the_weights_less() -> None:
    rates = [small(images)["optimizer"]["lr"] for images in (80, 240, 399, 400)]
    assert rates == [5.77e-5, 1e-4, 1.66e-4, 1e-3]


def test_the_recipe_holds_what_it_says_it_holds() -> None:
    data = {"data": {"path": "photos"}}
    assert resolve_config("small", [], data) == resolve_config("small", [], data, images=240)


def test_a_size_that_is_given_is_the_size_at_which_the_model_works() -> None:
    data = {"data": {"path": "photos", "resolution": 224}}
    preprocess = resolve_config("small", [], data, images=80).data.preprocess
    assert (preprocess.crop, preprocess.resize.short_side) == (224, 256)
    own = resolve_config("small", ["data.eval_resolution=192"], data, images=80).data
    assert (own.eval_resolution, own.eval_resize) == (192, None)
    for images, side in ((80, 160), (900, 192)):
        usual = resolve_config("small", [], {"data": {"path": "photos"}}, images=images).data.preprocess
        assert (usual.crop, usual.resize.short_side) == (side, side)


def test_what_is_given_wins_over_the_number_of_images() -> None:
    data = {"data": {"path": "photos"}}
    config = resolve_config("small", ["loop.batch_size=8"], {**data, "schedule": {"epochs": 3}}, images=80)
    assert (config.schedule.epochs, config.loop.batch_size) == (3, 8)
    assert config.schedule.warmup_epochs == pytest.approx(0.6), "a fifth of the epochs that were chosen"
    assert resolve_config("finetune", [], data, images=80) == resolve_config("finetune", [], data)
