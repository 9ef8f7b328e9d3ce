"""The distillation losses equal their formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ghostclas.ssld.losses import decoupled_kl, feature_map_loss, soft_kl, symmetric_kl

ONES = torch.ones(2)
P = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]))
Q = torch.log(torch.tensor([[0.5, 0.3, 0.2], [0.25, 0.25, 0.5]]))


def kl(p: Any, q: Any) -> Any:
    return (p * np.log(p / q)).sum(-1)


def test_the_default_loss_is_half_of_both_directions_summed_over_classes_and_averaged_over_the_batch() -> (
    None
):
    p, q = P.exp().numpy(), Q.exp().numpy()
    expected = (kl(p, q) + kl(q, p)).mean() / 2
    assert symmetric_kl(Q, P, ONES).item() == pytest.approx(expected, rel=1e-5)
    assert symmetric_kl(P, Q, ONES).item() == pytest.approx(expected, rel=1e-5)
    assert symmetric_kl(P + 3, P, ONES).item() == pytest.approx(0, abs=1e-6)


def test_a_blank_adds_nothing_and_still_counts() -> None:
    first = symmetric_kl(Q[:1], P[:1], ONES[:1]).item()
    assert symmetric_kl(Q, P, torch.tensor([1.0, 0.0])).item() == pytest.approx(first / 2, rel=1e-5)


def test_kl_softens_both_by_the_temperature_and_scales_by_its_square() -> None:
    p, q = (logits.div(2).softmax(1).numpy() for logits in (P, Q))
    expected = 4 * kl(p, q).mean()
    assert soft_kl(Q, P, ONES, temperature=2.0).item() == pytest.approx(expected, rel=1e-5)


def test_dkd_is_the_divergence_of_target_against_the_rest_and_that_among_the_rest() -> None:
    p, q = P.exp().numpy(), Q.exp().numpy()
    target = p.argmax(1)
    expected = []
    for row, best in enumerate(target):
        pair = [np.array([v[row, best], 1 - v[row, best]]) for v in (p, q)]
        rest = [np.delete(v[row], best) / (1 - v[row, best]) for v in (p, q)]
        expected.append(1.0 * kl(*pair) + 8.0 * kl(*rest))
    found = decoupled_kl(Q, P, ONES, temperature=1.0, alpha=1.0, beta=8.0)
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-4)
    # With beta the probability of the rest, it is KL itself: equation 6 of the paper.
    one = decoupled_kl(Q[:1], P[:1], ONES[:1], temperature=1.0, alpha=1.0, beta=0.3)
    assert one.item() == pytest.approx(kl(p, q)[0], rel=1e-4)


def test_what_a_student_misses_of_a_map_is_a_part_of_its_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    # Channels of very different scales count alike.
    theirs = torch.randn(4, 3, 5, 5, generator=generator) * torch.tensor([1.0, 5.0, 20.0]).view(1, 3, 1, 1)
    ones = torch.ones(4)
    assert feature_map_loss(theirs, theirs, ones) == 0
    mean = theirs.mean((0, 2, 3), keepdim=True).expand_as(theirs)
    assert feature_map_loss(mean, theirs, ones).item() == pytest.approx(1, rel=1e-5)
    half = mean + 0.5 * (theirs - mean)
    assert feature_map_loss(half, theirs, ones).item() == pytest.approx(0.25, rel=1e-5)
    weights = torch.tensor([1.0, 1.0, 0.0, 0.0])
    spoiled = half.clone()
    spoiled[2:] = 1e6
    per_image = ((half - theirs) ** 2 / theirs.var((0, 2, 3), unbiased=False, keepdim=True)).mean((1, 2, 3))
    expected = per_image[:2].sum() / 4
    assert feature_map_loss(spoiled, theirs, weights).item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_channel_that_hardly_moves_is_not_made_loud() -> None:
    theirs = torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    theirs[:, 1] = 0.0
    ours = theirs.clone()
    ours[:, 1] = 0.01
    assert feature_map_loss(ours, theirs, torch.ones(4)).item() < 0.2
    assert torch.isfinite(feature_map_loss(ours, torch.zeros_like(theirs), torch.ones(4)))
