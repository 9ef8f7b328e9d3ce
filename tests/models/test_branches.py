"""Branches and the convolution that they merge into have the same output."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ghostclas.errors import UsageError
from ghostclas.models import create_model
from ghostclas.models.branches import BranchedConv, has_branches, merge_branches
from ghostclas.models.folded import fold_batch_norms
from ghostclas.models.int8 import simulate_int8
from ghostclas.zoo import resolve_spec
from tests.models.weights import randomised


@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "stride", "groups"),
    [(6, 4, 1, 1, 1), (6, 6, 1, 1, 1), (6, 6, 3, 1, 6), (6, 6, 5, 2, 6), (4, 4, 3, 1, 2), (4, 8, 3, 1, 1)],
)
def test_merged_branches_are_the_same_function(
    inputs: int, outputs: int, kernel: int, stride: int, groups: int
) -> None:
    torch.manual_seed(0)
    branched = randomised(BranchedConv(inputs, outputs, kernel, stride=stride, groups=groups))
    merged = branched.merged()
    images = torch.randn(2, inputs, 9, 9)
    assert [name for name, _ in merged.named_children()] == ["conv", "act"]
    torch.testing.assert_close(merged.float()(images), branched(images), rtol=1e-4, atol=1e-5)


def test_a_merged_network_answers_alike_and_has_the_names_of_the_plain_one() -> None:
    torch.manual_seed(0)
    model = randomised(create_model(resolve_spec("ghostnetv3_x0_25", num_classes=5)))
    assert has_branches(model)
    images = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        wanted, found = model(images), fold_batch_norms(model)(images)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4 * float(wanted.std()))
    plain = create_model(resolve_spec("ghostnetv2_x0_25", num_classes=5))
    assert fold_batch_norms(model).state_dict().keys() == fold_batch_norms(plain).state_dict().keys()
    assert has_branches(model)


def test_merging_keeps_dtype_and_mode_and_leaves_other_networks_alone() -> None:
    model = create_model(resolve_spec("ghostnetv3_x0_25", num_classes=5)).double().eval()
    merge_branches(model)
    assert {value.dtype for value in model.parameters()} == {torch.float64}
    assert not any(module.training for module in model.modules())
    plain = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    before = list(plain.state_dict())
    merge_branches(plain)
    assert list(plain.state_dict()) == before


def test_rounding_as_int8_does_is_refused_where_branches_are_merged_later() -> None:
    with pytest.raises(UsageError, match="merged"):
        simulate_int8(create_model(resolve_spec("ghostnetv3_x0_25", num_classes=5)))
