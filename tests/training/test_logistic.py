"""Multinomial logistic regression."""

import numpy as np
import pytest

from ghostclas.training.logistic import PENALTIES, fit_classifier, stratified_folds

pytest.importorskip("scipy", reason="scipy is not installed")


def clusters(*, each: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features ``[3 * each, 20]`` around three centres, on scales that differ by a thousand."""
    draw = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), each)
    centres = np.random.default_rng(1).normal(0, 1, (3, 20))
    features = (centres[labels] + draw.normal(0, spread, (3 * each, 20))) * np.geomspace(0.1, 100, 20)
    return features.astype(np.float32), labels


def accuracy(weight: np.ndarray, bias: np.ndarray, features: np.ndarray, labels: np.ndarray) -> float:
    return float(((features @ weight.T + bias).argmax(axis=1) == labels).mean())


def test_clusters_are_told_apart_whatever_the_scale_of_the_features() -> None:
    found = fit_classifier(*clusters(each=30, spread=0.7), 3)
    assert accuracy(found.weight, found.bias, *clusters(each=100, spread=0.7, seed=2)) > 0.95


def test_the_solution_is_that_of_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    features, labels = clusters(each=20, spread=2.0)
    found = fit_classifier(features, labels, 3)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    peer = linear_model.LogisticRegression(C=1 / (found.penalty * len(labels)), tol=1e-8, max_iter=5000)
    peer.fit(scaled.astype(np.float64), labels)
    ours = features @ found.weight.T + found.bias
    theirs = scaled @ peer.coef_.T + peer.intercept_
    np.testing.assert_allclose(
        ours - ours.mean(axis=1, keepdims=True), theirs - theirs.mean(axis=1, keepdims=True), atol=2e-3
    )


def test_noise_gets_a_larger_penalty_than_what_is_easy_to_learn() -> None:
    easy, hard = (fit_classifier(*clusters(each=20, spread=spread), 3) for spread in (0.2, 8.0))
    assert easy.penalty < hard.penalty
    assert easy.loss < 0.1 < hard.loss
    assert {easy.penalty, hard.penalty} <= set(PENALTIES)


def test_each_class_is_spread_over_the_folds() -> None:
    labels = np.array([0] * 11 + [1] * 10 + [2])
    folds = stratified_folds(labels)
    for label in (0, 1):
        counts = np.bincount(folds[labels == label], minlength=5)
        assert counts.max() - counts.min() <= 1
    assert len(np.unique(stratified_folds(np.array([0, 0, 1, 1])))) == 2
    assert not np.array_equal(folds, stratified_folds(labels, seed=1))


def test_classes_of_one_image_can_be_fitted() -> None:
    features, labels = clusters(each=1, spread=0.1)
    found = fit_classifier(features, labels, 3)
    assert accuracy(found.weight, found.bias, features, labels) == 1


def test_the_same_images_give_the_same_classifier() -> None:
    first, second = (fit_classifier(*clusters(each=10, spread=1.0), 3) for _ in range(2))
    np.testing.assert_array_equal(first.weight, second.weight)
