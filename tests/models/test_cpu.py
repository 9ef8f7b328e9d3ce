"""The faster layers for CPUs compute the same as the plain ones."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from ghostclas.models import create_model
from ghostclas.models.cpu import Float32Conv2d, TwoSumBatchNorm2d, compile_training, speed_up
from ghostclas.models.ghostnet import GhostNet
from ghostclas.models.layers import SameConv
from ghostclas.spec import ModelSpec
from ghostclas.zoo import resolve_spec


def spec_of(name: str) -> ModelSpec:
    return resolve_spec(name).model_copy(update={"num_classes": 10, "dropout": 0.0})


def gradients(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    model.train()
    model(images).square().sum().backward()
    return {
        name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None
    }


@pytest.mark.parametrize("side", [10, 70], ids=["summed at once", "summed by rows"])
@pytest.mark.parametrize("mean", [0.0, 300.0])
def test_batch_norm_equals_pytorchs_also_where_the_mean_is_large(side: int, mean: float) -> None:
    torch.manual_seed(0)
    plain = nn.BatchNorm2d(6)
    nn.init.normal_(plain.weight)
    nn.init.normal_(plain.bias)
    nn.init.constant_(plain.running_mean, mean + 0.5)  # type: ignore[arg-type]
    swapped = copy.deepcopy(plain)
    speed_up(swapped, compiled=True)
    assert type(swapped) is TwoSumBatchNorm2d

    images = 0.5 * torch.randn(4, 6, side, side) + mean
    mine, theirs = images.clone().requires_grad_(), images.clone().requires_grad_()
    above = torch.randn_like(images)
    answers = swapped(mine), plain(theirs)
    for answer in answers:
        answer.backward(above)

    assert mine.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(*answers, atol=2e-3 if mean else 1e-5, rtol=1e-5)
    torch.testing.assert_close(mine.grad, theirs.grad, atol=2e-3 if mean else 1e-5, rtol=1e-4)
    torch.testing.assert_close(swapped.weight.grad, plain.weight.grad, atol=2e-2, rtol=2e-3)
    torch.testing.assert_close(swapped.bias.grad, plain.bias.grad, atol=1e-2, rtol=1e-4)
    for name, value in plain.named_buffers():
        torch.testing.assert_close(swapped.get_buffer(name), value, msg=name)


@pytest.mark.parametrize("name", ["ghostnet_x0_5", "efficientnet_lite0"])
def test_a_swapped_network_has_the_same_gradients_and_names(name: str) -> None:
    torch.manual_seed(0)
    plain = create_model(spec_of(name)).double()
    swapped = copy.deepcopy(plain)
    speed_up(swapped, compiled=True)
    images = torch.randn(4, 3, 64, 64, dtype=torch.float64)

    expected, got = gradients(plain, images), gradients(swapped, images)

    assert list(got) == list(expected)
    assert list(swapped.state_dict()) == list(plain.state_dict())
    for key, value in expected.items():
        torch.testing.assert_close(got[key], value, atol=1e-6, rtol=1e-6, msg=key)


def test_a_swapped_network_answers_as_before_in_evaluation() -> None:
    torch.manual_seed(0)
    plain = create_model(spec_of("ghostnet_x0_5")).eval()
    swapped = copy.deepcopy(plain)
    speed_up(swapped, compiled=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(swapped(images), plain(images))


@pytest.mark.parametrize("base", [nn.Conv2d, SameConv])
def test_only_depthwise_convolutions_that_stride_or_are_large_stay_in_float32(base: type[nn.Conv2d]) -> None:
    strided, large, small, dense = (
        base(8, 8, 3, stride=2, groups=8),
        base(8, 8, 5, groups=8),
        base(8, 8, 3, groups=8),
        base(8, 8, 3, stride=2),
    )
    speed_up(nn.ModuleList([strided, large, small, dense]), compiled=False)
    with torch.autocast("cpu", torch.bfloat16):
        dtypes = [conv(torch.randn(1, 8, 8, 8)).dtype for conv in (strided, large, small, dense)]
    assert dtypes == [torch.float32, torch.float32, torch.bfloat16, torch.bfloat16]
    assert [isinstance(conv, Float32Conv2d) for conv in (strided, large, small, dense)] == [
        True,
        True,
        False,
        False,
    ]


def test_an_uncompiled_network_keeps_pytorchs_batch_norm() -> None:
    norm = nn.BatchNorm2d(4)
    speed_up(norm, compiled=False)
    assert type(norm) is nn.BatchNorm2d


@pytest.mark.slow
def test_compiled_it_has_the_same_gradients() -> None:
    torch.manual_seed(0)
    network = create_model(spec_of("ghostnet_x0_5"))
    # Channels of fewer than a register's numbers, sums by rows, a stride, a shortcut.
    assert isinstance(network, GhostNet)
    plain = nn.Sequential(network.stem, *list(network.blocks)[:2]).to(memory_format=torch.channels_last)
    swapped = copy.deepcopy(plain)
    speed_up(swapped, compiled=True)
    images = torch.randn(2, 3, 160, 160).contiguous(memory_format=torch.channels_last)
    expected = gradients(plain, images)
    compiled = compile_training(swapped.train())
    compiled(images).square().sum().backward()
    for name, parameter in swapped.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], atol=5e-2, rtol=1e-3, msg=name)
