"""The moving average of weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ghostclas.training.ema import EMA


def model(value: float, batches: int = 0) -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(2)
    nn.init.constant_(norm.weight, value)
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.fill_(batches)
    return norm


@pytest.mark.parametrize(("step", "decay"), [(1, 2 / 11), (10_000, 0.9)])
def test_the_decay_rises_to_what_is_set(step: int, decay: float) -> None:
    ema = EMA(model(1.0), 0.9)
    ema.update(model(2.0, batches=7), step)
    torch.testing.assert_close(ema.state["weight"], torch.full((2,), decay + (1 - decay) * 2))
    assert ema.state["num_batches_tracked"] == 7, "whole numbers are copied"


def test_without_warm_up_the_weights_of_the_start_keep_their_share() -> None:
    ema = EMA(model(1.0), 0.9, warm_up=False)
    for step in range(1, 6):
        ema.update(model(2.0), step)
    torch.testing.assert_close(ema.state["weight"], torch.full((2,), 0.9**5 + (1 - 0.9**5) * 2))


def test_without_decay_it_is_a_copy_and_never_the_model_itself() -> None:
    source = model(1.0)
    ema = EMA(source, 0.0)
    nn.init.constant_(source.weight, 3.0)
    assert ema.state["weight"].tolist() == [1, 1]
    ema.update(source, 5)
    assert ema.state["weight"].tolist() == [3, 3]
    ema.load(model(4.0).state_dict())
    assert ema.state["weight"].tolist() == [4, 4]
    assert source.weight.tolist() == [3, 3]
