import pytest

from ghostclas.models import create_model
from ghostclas.spec import ModelSpec
from ghostclas.training.config import OptimizerConfig, ScheduleConfig
from ghostclas.training.optim import HEADS, build_optimizer, heads_of, rate_at, set_rates

SPEC = ModelSpec(name="tiny", width=0.1, num_classes=3)


def test_norms_and_biases_are_not_decayed_and_every_parameter_is_in_one_group() -> None:
    model = create_model(SPEC)
    optimizer = build_optimizer(model, OptimizerConfig(weight_decay=1e-4), batch_size=512)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    seen = [
        (names[id(parameter)], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]
    assert sorted(name for name, _ in seen) == sorted(names.values())
    for name, decay in seen:
        assert (decay == 0) == (".norm." in name or name.endswith(".bias")), name


def test_the_rate_scales_with_the_batch_and_the_body_can_learn_slower() -> None:
    config = OptimizerConfig(lr=0.8, lr_batch=2048, body_lr=0.1)
    optimizer = build_optimizer(create_model(SPEC), config, batch_size=256)
    rates = {group["head"]: group["peak_lr"] for group in optimizer.param_groups}
    assert rates == {True: pytest.approx(0.1), False: pytest.approx(0.01)}


def test_warm_up_rises_to_the_peak_and_the_cosine_falls_to_its_end() -> None:
    schedule = ScheduleConfig(epochs=10, warmup_epochs=1, final_lr=0.1)
    assert rate_at(schedule, 0) == 0
    assert rate_at(schedule, 0.05) == pytest.approx(0.5)
    assert rate_at(schedule, 0.1) == pytest.approx(1)
    assert rate_at(schedule, 0.55) == pytest.approx(0.55)
    assert rate_at(schedule, 1) == pytest.approx(0.1)


def test_the_body_stands_still_while_the_head_is_trained_alone() -> None:
    schedule = ScheduleConfig(epochs=10, warmup_epochs=0, head_epochs=2)
    optimizer = build_optimizer(create_model(SPEC), OptimizerConfig(), batch_size=512)
    set_rates(optimizer, schedule, 0.1)
    assert {group["head"]: group["lr"] > 0 for group in optimizer.param_groups} == {True: True, False: False}
    set_rates(optimizer, schedule, 0.2)
    assert all(group["lr"] > 0 for group in optimizer.param_groups)


def test_the_last_layer_is_found_whatever_it_is_called() -> None:
    assert heads_of(create_model(SPEC)) == HEADS
    pytest.importorskip("timm", reason="timm is not installed")
    assert heads_of(create_model(ModelSpec(name="resnet10t", family="timm", num_classes=3))) == ("fc.",)
