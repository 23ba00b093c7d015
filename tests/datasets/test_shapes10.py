"""shapes10: the same samples for ever, and what masks, factors, options and twins promise."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation, binary_erosion

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.data import prepared, shapes10
from lrp_dynamics.data.outlines import AREA, EXTENT, OUTLINES
from lrp_dynamics.data.prepared import TEST, TRAIN
from lrp_dynamics.data.scenes import DISTRACTOR, MARK, OBJECT, PATCH, TEXTURES
from lrp_dynamics.data.shapes10 import SHAPES, Shapes10, generate
from lrp_dynamics.data.uniforms import splitmix64, uniforms

INDEX = np.arange(1000)
# Of the first 1,000 training samples of the standard preset, seed 0.
IMAGES_SHA256 = "68aa9be3e95b1a67ff192086f420551e53d1f7ceb38cf4aac1766fe7043d2ad9"
MASK_SHA256 = "e941d8012e089471eccf1a585520e9acca173cc200e6b186a8dbd69ec1a262df"
NEIGHBOURS = np.ones((1, 3, 3), dtype=bool)


@pytest.fixture(scope="module")
def standard():
    return generate(Shapes10(), TRAIN, INDEX)


@pytest.fixture(scope="module")
def easy():
    return generate(Shapes10(preset="easy"), TRAIN, INDEX)


def test_splitmix64_gives_the_published_numbers():
    # The first outputs for the state 1234567, as listed with several independent implementations.
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert splitmix64(np.array([1234567], dtype=np.uint64), 5).tolist() == [expected]


def test_uniforms_are_uniform_and_streams_differ():
    numbers = np.stack([uniforms(seed, split, INDEX, s, 50) for seed in (0, 1) for split in (0, 1) for s in (0, 1)])
    assert 0 <= numbers.min() < 1e-4
    assert 1 - 1e-4 < numbers.max() < 1
    np.testing.assert_allclose(np.histogram(numbers, 20, (0, 1))[0] / numbers.size, 0.05, atol=0.002)
    correlation = np.corrcoef(numbers.reshape(len(numbers), -1))
    np.testing.assert_allclose(correlation, np.eye(len(numbers)), atol=0.025)


def test_the_first_thousand_samples_never_change(standard):
    digest = {name: hashlib.sha256(getattr(standard, name).tobytes()).hexdigest() for name in ("images", "mask")}
    assert digest == {"images": IMAGES_SHA256, "mask": MASK_SHA256}


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 999), min_size=1, max_size=300))
def test_a_sample_does_not_depend_on_the_others(standard, index):
    some = generate(Shapes10(), TRAIN, np.array(index))
    np.testing.assert_array_equal(some.images, standard.images[index])
    np.testing.assert_array_equal(some.mask, standard.mask[index])
    for key, values in some.factors.items():
        np.testing.assert_array_equal(values, standard.factors[key][index], err_msg=key)


def test_seeds_and_splits_share_no_sample(standard):
    others = [generate(Shapes10(seed=1), TRAIN, INDEX[:100]), generate(Shapes10(), TEST, INDEX[:100])]
    for other in others:
        assert not (other.images == standard.images[:100]).all(axis=(1, 2, 3)).any()


@pytest.mark.parametrize("name", SHAPES)
def test_outlines_have_equal_area_and_are_centred(name):
    grid = (np.arange(1600) + 0.5) / 400 - 2
    x, y = np.meshgrid(grid, grid)
    distance = OUTLINES[name](x, y)
    inside = distance < 0
    assert inside.mean() * 16 == pytest.approx(AREA, rel=0.01)
    assert (x[inside].mean(), y[inside].mean()) == pytest.approx((0, 0), abs=0.005)
    assert np.hypot(x, y)[inside].max() < EXTENT
    # The edge is as sharp as the distance is steep.
    slope = np.hypot(*np.gradient(distance, grid, grid))
    assert np.quantile(slope, 0.999) < 1.01
    assert np.median(slope[np.abs(distance) < 0.05]) == pytest.approx(1, abs=0.01)


def test_classes_are_balanced_and_the_object_takes_a_twelfth(standard):
    assert np.bincount(standard.labels).tolist() == [100] * 10
    assert (standard.labels == INDEX % 10).all()
    assert (standard.mask == OBJECT).mean() == pytest.approx(0.083, abs=0.004)
    np.testing.assert_allclose(standard.factors["visible"], (standard.mask == OBJECT).mean(axis=(1, 2)), rtol=1e-6)


@pytest.mark.parametrize("preset", shapes10.PRESETS)
def test_presets_keep_their_ranges(preset):
    samples, rule = generate(Shapes10(preset=preset), TRAIN, INDEX), shapes10.PRESETS[preset]
    contrast, clutter = samples.factors["contrast"], samples.factors["clutter"]
    assert rule.contrast[0] <= contrast.min() < contrast.max() <= rule.contrast[1]
    assert sorted(np.unique(clutter)) == list(range(rule.clutter + 1))
    assert samples.factors["occluded"].mean() == pytest.approx(rule.occluder, abs=0.05)
    assert (samples.mask == DISTRACTOR).any() == (rule.clutter > 0)


def test_contrast_and_scale_are_what_is_seen(easy):
    grey = easy.images.astype(float).mean(axis=1) / 255
    inside, outside = easy.mask == OBJECT, ~binary_dilation(easy.mask == OBJECT, NEIGHBOURS, 2)
    seen = np.array([abs(g[i].mean() - g[o].mean()) for g, i, o in zip(grey, inside, outside, strict=True)])
    # Soft edges and channels saturated at black and white take off a little.
    assert np.corrcoef(seen, easy.factors["contrast"])[0, 1] > 0.95
    area = (easy.mask == OBJECT).sum(axis=(1, 2))
    np.testing.assert_allclose(area, AREA * (32 * easy.factors["scale"]) ** 2, rtol=0.2)


def test_the_mask_is_where_removing_the_object_shows(easy):
    removed = generate(Shapes10(preset="easy"), TRAIN, INDEX, "object_removed")
    changed = (removed.images != easy.images).any(axis=1)
    assert changed[easy.mask == OBJECT].mean() > 0.999
    assert not changed[~binary_dilation(easy.mask == OBJECT, NEIGHBOURS, 2)].any()
    assert not (removed.mask == OBJECT).any()
    assert (removed.factors["shape"] == -1).all()
    np.testing.assert_array_equal(removed.labels, easy.labels)


def test_swapping_the_object_keeps_the_rest(easy):
    swapped = generate(Shapes10(preset="easy"), TRAIN, INDEX, "object_swapped")
    assert (swapped.factors["shape"] != easy.factors["shape"]).all()
    assert np.unique(swapped.factors["shape"][easy.labels == 3]).tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert not (swapped.images == easy.images).all(axis=(1, 2, 3)).any()
    # Faint tips of stars and crescents reach a little beyond the mask.
    far = ~binary_dilation((easy.mask == OBJECT) | (swapped.mask == OBJECT), NEIGHBOURS, 3)
    assert not (swapped.images != easy.images).any(axis=1)[far].any()
    for key in ("contrast", "scale", "x", "y", "rotation", "texture", "occluded"):
        np.testing.assert_array_equal(swapped.factors[key], easy.factors[key], err_msg=key)
    np.testing.assert_array_equal(swapped.labels, easy.labels)


def test_swapping_the_background_keeps_the_object(easy):
    swapped = generate(Shapes10(preset="easy"), TRAIN, INDEX, "background_swapped")
    assert (swapped.factors["texture"] != easy.factors["texture"]).all()
    changed = (swapped.images != easy.images).any(axis=1)
    assert not changed[binary_erosion(easy.mask == OBJECT, NEIGHBOURS)].any()
    assert changed[easy.mask == 0].mean() > 0.98
    np.testing.assert_array_equal(swapped.mask, easy.mask)
    np.testing.assert_array_equal(swapped.labels, easy.labels)
    # The hue is another one too, unrelated to the old; the luminance that the object's contrast refers to stays.
    colours = [np.einsum("nchw,nhw->nc", s.images / 255, s.mask == 0) / 900 for s in (easy, swapped)]
    tints = [colour - colour.mean(axis=1, keepdims=True) for colour in colours]
    assert abs(np.corrcoef(tints[0].ravel(), tints[1].ravel())[0, 1]) < 0.15
    assert np.corrcoef(colours[0].mean(axis=1), colours[1].mean(axis=1))[0, 1] > 0.98


def test_textures_differ_in_frequency():
    empty = generate(Shapes10(preset="easy"), TRAIN, INDEX, "object_removed")
    grey = empty.images.astype(float).mean(axis=1)
    spectrum = np.abs(np.fft.fft2(grey - grey.mean(axis=(1, 2), keepdims=True))) ** 2
    frequency = np.hypot(np.fft.fftfreq(32)[:, None], np.fft.fftfreq(32)[None])
    strongest = frequency.ravel()[spectrum.reshape(1000, -1).argmax(axis=1)]
    expected = 0.12 + 0.05 * empty.factors["texture"]
    assert (np.abs(strongest - expected) < 0.03).mean() > 0.95


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_symmetric_noise_replaces_labels_and_nothing_else(standard, share):
    noisy = generate(Shapes10(label_noise=share), TRAIN, INDEX)
    wrong = noisy.labels != noisy.labels_clean
    assert wrong.mean() == pytest.approx(share, abs=0.04)
    np.testing.assert_array_equal(noisy.labels_clean, standard.labels)
    np.testing.assert_array_equal(noisy.factors["mislabelled"], wrong)
    np.testing.assert_array_equal(noisy.images, standard.images)
    assert len(set(zip(noisy.labels_clean[wrong], noisy.labels[wrong], strict=True))) > 60 * share


def test_asymmetric_noise_stays_within_its_pairs():
    noisy = generate(Shapes10(label_noise=0.4, noise="asymmetric"), TRAIN, np.arange(4000))
    wrong = noisy.labels != noisy.labels_clean
    pairs = {(SHAPES[a], SHAPES[b]) for a, b in zip(noisy.labels_clean[wrong], noisy.labels[wrong], strict=True)}
    assert pairs == {
        ("disc", "pentagon"),
        ("pentagon", "disc"),
        ("pentagon", "square"),
        ("square", "pentagon"),
        ("ell", "tee"),
        ("tee", "ell"),
    }
    for name in ("disc", "pentagon", "square", "ell", "tee"):
        assert wrong[noisy.labels_clean == SHAPES.index(name)].mean() == pytest.approx(0.4, abs=0.08)


def test_test_labels_are_never_noisy():
    samples = generate(Shapes10(label_noise=1.0), TEST, INDEX)
    np.testing.assert_array_equal(samples.labels, samples.labels_clean)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.95])
def test_background_correlation_is_as_asked(standard, rho):
    tied = generate(Shapes10(bg_corr=rho), TRAIN, INDEX)
    hits = tied.factors["texture"] == tied.labels % TEXTURES
    assert hits.mean() == pytest.approx(rho + (1 - rho) / TEXTURES, abs=0.04)
    same = tied.factors["texture"] == standard.factors["texture"]
    np.testing.assert_array_equal((tied.images == standard.images).all(axis=(1, 2, 3)), same)


def test_the_patch_tells_the_class_and_the_mask_tells_the_patch(standard):
    marked = generate(Shapes10(patch=0.7), TRAIN, INDEX)
    there = marked.factors["marked"] == 1
    assert there.mean() == pytest.approx(0.7, abs=0.05)
    patch = marked.mask == PATCH
    assert patch[there].sum(axis=(1, 2)).tolist() == [9] * there.sum()
    assert patch[there][:, *MARK].all()
    assert not patch[~there].any()
    changed = (marked.images != standard.images).any(axis=1)
    assert not changed[~patch].any()
    with_mark = [marked.images[there & (marked.labels == c)][:, :, *MARK] for c in range(10)]
    assert all((images == images[0]).all() for images in with_mark)
    assert len({images[0].tobytes() for images in with_mark}) == 10
    assert len({int(images[0].astype(int).sum()) for images in with_mark}) == 1  # none is brighter


def test_xor_labels_need_both_shape_and_texture():
    samples = generate(Shapes10(labels="xor"), TRAIN, np.arange(4000))
    texture, shape = samples.factors["texture"], samples.factors["shape"]
    assert np.unique(texture).tolist() == [0, TEXTURES - 1]
    np.testing.assert_array_equal(samples.labels, (shape + (texture > 0)) % 2)
    for factor in (shape, texture):
        for value in np.unique(factor):
            assert samples.labels[factor == value].mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("intervention", ["object_swapped", "background_swapped"])
def test_in_xor_both_swaps_would_change_the_label(intervention):
    config = Shapes10(labels="xor")
    swapped = generate(config, TRAIN, INDEX, intervention)
    new = (swapped.factors["shape"] + (swapped.factors["texture"] > 0)) % 2
    assert (new != swapped.labels).all()


def test_a_prepared_file_is_the_same_bytes_again(tmp_path):
    params = {"kind": "shapes10", "title": "shapes10 (synthetic)", "n_train": 150, "n_test": 70, "label_noise": 0.2}
    for name in ("one", "two"):
        prepared.write(tmp_path / name, shapes10.prepare("shapes10", params))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    back = prepared.read(tmp_path / "one")
    assert back.images.shape == (220, 3, 32, 32)
    assert back.split.tolist() == [0] * 150 + [1] * 70
    assert back.source == {"params": params}
    np.testing.assert_array_equal(back.images[150:], generate(Shapes10(), TEST, np.arange(70)).images)


def test_twins_of_a_prepared_dataset_come_in_the_order_asked(tmp_path):
    params = {"kind": "shapes10", "n_train": 40, "n_test": 20, "preset": "easy", "seed": 7, "patch": 1.0}
    prepared.write(tmp_path / "x.h5", shapes10.prepare("x", params))
    dataset = prepared.read(tmp_path / "x.h5")
    rows = np.array([45, 3, 59, 0, 41, 12])
    same = shapes10.twins(dataset, rows, "patch_removed")
    np.testing.assert_array_equal(same.labels, dataset.labels[rows])
    changed = (same.images != dataset.images[rows]).any(axis=1)
    np.testing.assert_array_equal(changed, dataset.mask[rows] == PATCH)
    removed = shapes10.twins(dataset, rows, "object_removed")
    for twin, row in zip(removed.images, rows, strict=True):
        assert (twin == dataset.images[row])[:, dataset.mask[row] == PATCH].all()
        assert (twin != dataset.images[row]).any(axis=0)[dataset.mask[row] == OBJECT].mean() > 0.9
    with pytest.raises(UserError, match="kind is 'cifar10', not shapes10"):
        shapes10.twins(replace(dataset, source={"params": {"kind": "cifar10"}}), rows, "object_removed")


def test_no_samples_is_no_error():
    assert generate(Shapes10(), TRAIN, np.arange(0)).images.shape == (0, 3, 32, 32)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"preset": "medium"}, "preset: found 'medium', expected easy, standard or hard"),
        ({"noise": "some"}, "noise: found 'some'"),
        ({"labels": "colour"}, "labels: found 'colour'"),
        ({"label_noise": 1.5}, "label_noise: found 1.5, expected a number from 0 to 1"),
        ({"bg_corr": -0.1}, "bg_corr: found -0.1"),
        ({"seed": -1}, "seed: found -1, expected a whole number from 0 to 2147483647"),
        ({"labels": "xor", "bg_corr": 0.5}, "set bg_corr to 0"),
    ],
)
def test_bad_options_are_named(options, said):
    with pytest.raises(UserError, match=said):
        replace(Shapes10(), **options)


def test_unknown_options_and_interventions_are_named():
    with pytest.raises(UserError, match=r"datasets\.x: unknown key constrast; the known keys are: preset"):
        shapes10.prepare("x", {"kind": "shapes10", "n_train": 1, "n_test": 1, "constrast": 1})
    with pytest.raises(UserError, match="intervention 'object_gone'"):
        generate(Shapes10(), TRAIN, INDEX[:1], "object_gone")
