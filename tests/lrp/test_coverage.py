"""Networks of torchvision's families are explained right; `benchmarks/coverage.py` looks at all of them."""

import importlib.util
from pathlib import Path

import pytest

from .verdict import faults, verdict

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "coverage.py"
QUICK = ["resnet18", "squeezenet1_1", "shufflenet_v2_x0_5", "mnasnet0_5", "mobilenet_v3_small", "regnet_y_400mf"]
LONG = ["alexnet", "vgg11_bn", "densenet121", "googlenet", "inception_v3", "mobilenet_v2", "efficientnet_b0"]
LONG += ["convnext_tiny", "vit_b_16", "swin_t", "swin_v2_t", "maxvit_t"]
OTHERS = [("video", "r2plus1d_18"), ("video", "swin3d_t"), ("segmentation", "lraspp_mobilenet_v3_large")]
OTHERS += [("segmentation", "fcn_resnet50"), ("timm", "resnetv2_50"), ("timm", "levit_128s"), ("timm", "mixer_s32_224")]


@pytest.fixture(scope="module")
def coverage():
    spec = importlib.util.spec_from_file_location("coverage_of_networks", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def holds(coverage, kind, name):
    net, x, linear = coverage.build(kind, name)
    found = verdict(net, x, linear)
    assert not any(found["refused"].values()), found["refused"]
    assert not faults(found)
    assert found["lrp0"] is not None or not linear


@pytest.mark.parametrize("name", QUICK)
def test_torchvision(coverage, name):
    holds(coverage, "torchvision", name)


@pytest.mark.long
@pytest.mark.parametrize("name", LONG)
def test_more_of_torchvision(coverage, name):
    holds(coverage, "torchvision", name)


@pytest.mark.long
@pytest.mark.parametrize(("kind", "name"), OTHERS)
def test_other_sets(coverage, kind, name):
    if kind == "timm":
        pytest.importorskip("timm")
    holds(coverage, kind, name)


def test_every_network_of_the_page_is_on_the_list(coverage):
    """And the other way round: the page's table is that of these sets."""
    results = coverage.json.loads((SCRIPT.parents[1] / "docs" / "lrp" / "coverage.json").read_text(encoding="utf-8"))
    assert {kind: sorted(nets) for kind, nets in results["sets"].items()} == {
        kind: sorted(names) for kind, names in coverage.sets().items()
    }
    page = (SCRIPT.parents[1] / "docs" / "lrp" / "coverage.md").read_text(encoding="utf-8")
    assert coverage.table(results) in page
