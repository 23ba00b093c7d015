"""The class must be in the shape alone: classifiers that cannot see shape stay near chance.

Each classifier also has to find a leak that was planted, or its failure to find one would mean nothing.
"""

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from lrp_dynamics.data.prepared import TEST, TRAIN
from lrp_dynamics.data.shapes10 import Shapes10, generate

CHANCE = 0.10
N_TRAIN, N_TEST = 2000, 1500  # standard error of an accuracy at chance: 0.008
QUANTILES = [0, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 1]


def statistics(images):
    """Quantiles of the channels and of luminance, means, and covariance of the channels: all but where pixels lie."""
    pixels = images.reshape(len(images), 3, -1) / 255
    with_grey = np.concatenate([pixels, pixels.mean(axis=1, keepdims=True)], axis=1)
    quantiles = np.quantile(with_grey, QUANTILES, axis=2).transpose(1, 0, 2).reshape(len(images), -1)
    centred = pixels - pixels.mean(axis=2, keepdims=True)
    covariance = np.einsum("ncp,ndp->ncd", centred, centred).reshape(len(images), -1)
    return np.concatenate([quantiles, pixels.mean(axis=2), covariance], axis=1)


def forest(train, test, train_labels, test_labels):
    model = RandomForestClassifier(60, min_samples_leaf=3, max_features=12, random_state=0)
    return model.fit(statistics(train), train_labels).score(statistics(test), test_labels)


def regression(train, test, train_labels, test_labels):
    flat = [images.reshape(len(images), -1) / 255 - 0.5 for images in (train, test)]
    return LogisticRegression(C=0.01, max_iter=50).fit(flat[0], train_labels).score(flat[1], test_labels)


def samples(config):
    return generate(config, TRAIN, np.arange(N_TRAIN)), generate(config, TEST, np.arange(N_TEST))


@pytest.fixture(scope="module")
def standard():
    return samples(Shapes10())


@pytest.mark.parametrize("classifier", [forest, regression])
def test_standard_images_leak_nothing(standard, classifier):
    train, test = standard
    assert classifier(train.images, test.images, train.labels, test.labels) < CHANCE + 0.04


def test_easy_images_leak_nothing_to_the_forest():
    # Without clutter and at high contrast, the object's area would be easiest to read off.
    train, test = samples(Shapes10(preset="easy"))
    assert forest(train.images, test.images, train.labels, test.labels) < CHANCE + 0.04


def test_the_forest_finds_a_planted_leak(standard):
    # A bigger object for some classes is what a generator leaks first: here 20 darker pixels a class step.
    leaky = []
    for part in standard:
        images = part.images.copy().reshape(len(part.images), 3, -1)
        for image, label in zip(images, part.labels, strict=True):
            image[:, : 20 * label] = 0
        leaky.append(images.reshape(part.images.shape))
    assert forest(*leaky, *(part.labels for part in standard)) > 0.5


def test_the_regression_finds_the_patch():
    train, test = samples(Shapes10(patch=1.0))
    assert regression(train.images, test.images, train.labels, test.labels) > 0.95
