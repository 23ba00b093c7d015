"""Which networks does LRP explain here, and is it right on them?

Each network is built with random weights, BatchNorm statistics, scales and biases, in a process of its own, and looked
at by what can be told of any network (`tests/lrp/verdict.py`): its output, the balance of its books, and LRP-0 against
the gradient where the network is piecewise linear. Inputs are as small as the network allows. What a result file holds
is not run again.

    python benchmarks/coverage.py [--quick] [--set timm] [--network resnet18] --output benchmarks/results/coverage.json
    python benchmarks/coverage.py --table benchmarks/results/coverage.json [--into docs/lrp/coverage.md]
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import multiprocessing
import re
import resource
import sys
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import pages
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from lrp.idioms import IDIOMS
from lrp.verdict import OUTPUT, faults, randomised, verdict

# Families of torchvision that are not piecewise linear, for which LRP-0 is not the gradient: gates, norms, smooth
# activations, attention.
SMOOTH = ("convnext", "efficientnet", "maxvit", "mobilenet_v3", "regnet_y", "swin", "vit", "mvit")
SMOOTH += ("lraspp", "deeplabv3_mobilenet")
# Images as small as the family takes, where they are not of 64 by 64 pixels, and frames, where they are not 4.
SIDES = {"maxvit": 224, "s3d": 224, "inception": 96, "vit_h_14": 28, "vit_b_16": 32, "vit_l_16": 32}
FRAMES = {"s3d": 13}
TIMM = {
    # convolutions
    "resnet26d": 64, "resnetv2_50": 64, "resnet50_gn": 64, "legacy_seresnet18": 64, "ecaresnet26t": 64,
    "skresnet18": 64, "res2net50_14w_8s": 64, "gernet_s": 64, "repvgg_a0": 64, "regnety_002": 64,
    "mobilenetv3_small_050": 64, "mobilenetv4_conv_small_035": 64, "tf_efficientnetv2_b0": 64, "ghostnet_050": 64,
    "mixnet_s": 64, "dla34": 64, "dpn48b": 64, "densenet121": 64, "ese_vovnet19b_slim_dw": 64, "hrnet_w18_small": 64,
    "inception_v4": 96, "xception41": 64, "eca_nfnet_l0": 64, "cspresnet50": 64, "convnextv2_atto": 64,
    # attention, and what is mixed in its place
    "vit_tiny_patch16_224": 32, "deit_tiny_distilled_patch16_224": 32, "cait_xxs24_224": 32,
    "eva02_tiny_patch14_224": 28,
    "swinv2_tiny_window8_256": 256, "mixer_s32_224": 64, "resmlp_12_224": 32, "gmlp_ti16_224": 32, "poolformer_s12": 64,
    "coatnet_nano_rw_224": 64, "levit_128s": 64, "mobilevit_xxs": 64, "edgenext_xx_small": 64, "pvt_v2_b0": 64,
}  # fmt: skip
TIMM_LINEAR = {"resnet26d", "resnetv2_50", "res2net50_14w_8s", "gernet_s", "repvgg_a0", "dla34", "densenet121"}
TIMM_LINEAR |= {"hrnet_w18_small", "inception_v4", "xception41", "cspresnet50", "mobilenetv4_conv_small_035"}
FEWER_DIGITS = {"edgenext_xx_small": 1e-7}  # it computes the code of positions in float32
QUICK = {"torchvision": ("resnet18", "squeezenet1_1"), "video": (), "segmentation": (), "timm": ("resnet26d",)}


class Out(nn.Module):
    """A network that returns a dict, by its scores alone."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)["out"]


def sets() -> dict[str, list[str]]:
    """Return the names of the networks of every set."""
    from torchvision import models

    return {
        "torchvision": models.list_models(module=models),
        "video": models.list_models(module=models.video),
        "segmentation": models.list_models(module=models.segmentation),
        "timm": list(TIMM),
        "idioms": [name for name, i in IDIOMS.items() if not i.refused and not i.long],
    }


@contextmanager
def sized_mvit(side: int, frames: int):
    """Let torchvision build its multiscale transformers for smaller videos, which takes no option."""
    from torchvision.models.video import mvit

    whole = mvit._mvit
    mvit._mvit = lambda **options: whole(**options | {"spatial_size": (side, side), "temporal_size": frames})
    try:
        yield
    finally:
        mvit._mvit = whole


def build(kind: str, name: str) -> tuple[nn.Module, torch.Tensor, bool]:
    """Return a network in float32, an input in float64, and whether the network is piecewise linear."""
    torch.manual_seed(0)
    if kind == "idioms":
        return *IDIOMS[name].build(), IDIOMS[name].linear
    if kind == "timm":
        timm = importlib.import_module("timm")
        side = TIMM[name]
        try:
            net = timm.create_model(name, img_size=side)
        except TypeError:  # it takes images of any size
            net = timm.create_model(name)
        shape, linear = (3, side, side), name in TIMM_LINEAR
    else:
        from torchvision import models

        side = next((s for start, s in SIDES.items() if name.startswith(start)), 64)
        frames = next((f for start, f in FRAMES.items() if name.startswith(start)), 4)
        options = {"image_size": side} if name.startswith("vit") else {}
        if name in ("googlenet", "inception_v3"):
            options["init_weights"] = False
        if kind == "segmentation":
            options["weights_backbone"] = None
        with sized_mvit(side, frames):
            net = models.get_model(name, weights=None, **options)
        net = Out(net) if kind == "segmentation" else net
        shape = (3, frames, side, side) if kind == "video" else (3, side, side)
        linear = not name.startswith(SMOOTH)
    samples = 1 if kind != "timm" and side == 224 else 2
    x = torch.randn(samples, *shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return randomised(net, x.float()), x, linear


def look(kind: str, name: str, send) -> None:
    """Send what becomes of a network, or why it could not be built."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    try:
        found = verdict(*build(kind, name))
        allowed = IDIOMS[name].output if kind == "idioms" else FEWER_DIGITS.get(name, OUTPUT)
        found["faults"] = faults(found, allowed)
        if allowed > OUTPUT:  # it computes with fewer digits
            found.pop("output", None)
    except Exception as error:
        found = {"faults": [f"not looked at: {type(error).__name__}: {error}"], "refused": {}}
    found["faults"] = [without_folders(sentence) for sentence in found["faults"]]
    found["refused"] = {c: s and without_folders(s) for c, s in found["refused"].items()}
    found["seconds"] = time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found["peak_mib"] = peak / (2**20 if sys.platform == "darwin" else 2**10)
    send.send(found)


def without_folders(sentence: str) -> str:
    """Return a sentence without the folders of this machine."""
    return re.sub(r"\S+/(site-packages|tests)/", "", sentence)


def in_its_own_process(context, kind: str, name: str) -> dict:
    """Return what becomes of a network; its memory is gone afterwards."""
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=look, args=(kind, name, send))
    process.start()
    send.close()
    try:
        found = receive.recv()
    except EOFError:
        found = {"faults": ["its process died, of memory most likely"], "refused": {}}
    process.join()
    return found


def right(found: dict) -> bool:
    """Tell whether a network is explained by every composite, without a fault."""
    return not found["faults"] and not any(found["refused"].values())


def table(results: dict) -> str:
    """Return the results as two markdown tables: the sets, and the networks that are refused or wrong."""
    heads = ["set", "networks", "explained", "refused", "wrong", "output", "balance, float64", "balance, float32"]
    heads += ["LRP-0 (piecewise linear networks)", "capture, median and longest"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    number = lambda values: f"{max(values):.0e}" if values else "–"  # noqa: E731
    odd = []
    for kind, networks in results["sets"].items():
        every = list(networks.values())
        refused = [f for f in every if not f["faults"] and any(f["refused"].values())]
        wrong = [f for f in every if f["faults"]]
        linear = [f["lrp0"] for f in every if isinstance(f.get("lrp0"), float)]
        seconds = sorted(f["capture"] for f in every if "capture" in f)
        cells = [kind, len(every), sum(map(right, every)), len(refused), len(wrong)]
        cells.append(number([f["output"] for f in every if "output" in f]))
        for key in ("balance64", "balance32"):
            cells.append(number([v for f in every for v in f.get(key, {}).values()]))
        cells.append(f"{number(linear)} ({len(linear)})")
        cells.append(f"{seconds[len(seconds) // 2]:.2f} s, {seconds[-1]:.2f} s" if seconds else "–")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
        for name, found in networks.items():
            said = found["faults"] or sorted({s for s in found["refused"].values() if s})
            odd += [f"| {kind} | {name} | {sentence.replace('|', '/')} |" for sentence in said[:2]]
    end = len(lines)
    if odd:
        lines += ["", "| set | network | refused or wrong |", "|---|---|---|", *odd]
    versions = ", ".join(f"{k} {v.split('+')[0]}" for k, v in results["versions"].items())
    told = "Differences are the largest of a set; a capture is the first one in its process."
    return "\n".join([*lines[:end], "", f"{told} CPU, one thread; {versions}.", *lines[end:]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few networks of each set")
    parser.add_argument("--set", action="append", choices=["torchvision", "video", "segmentation", "timm", "idioms"])
    parser.add_argument("--network", action="append", help="only this one, also if it is in the result file")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/coverage.json"))
    pages.add_options(parser)
    arguments = parser.parse_args()
    if pages.shown(arguments, table):
        return
    has_timm = importlib.util.find_spec("timm") is not None
    if not has_timm:
        print("timm is not installed; its networks are left out", file=sys.stderr)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torchvision", "lrp_dynamics.lrp", *["timm"] * has_timm])
    results = {"versions": {}, "sets": {}}
    if arguments.output.exists():
        results = json.loads(arguments.output.read_text())
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    for library in ("torch", "torchvision", *["timm"] * has_timm):
        results["versions"][library] = importlib.import_module(library).__version__
    for kind, names in sets().items():
        if (arguments.set and kind not in arguments.set) or (kind == "timm" and not has_timm):
            continue
        done = results["sets"].get(kind, {})
        done = results["sets"][kind] = {name: done[name] for name in names if name in done}
        for name in names:
            chosen = name in arguments.network if arguments.network else name not in done
            if not chosen or (arguments.quick and name not in QUICK.get(kind, names)):
                continue
            done[name] = in_its_own_process(context, kind, name)
            print(f"{kind} {name}: {sentence(done[name])}", file=sys.stderr, flush=True)
            arguments.output.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    print(table(results))


def sentence(found: dict) -> str:
    """Return what becomes of a network in a line."""
    said = found["faults"] or sorted({s for s in found["refused"].values() if s}) or ["right"]
    return f"{said[0]} ({found.get('seconds', 0):.0f} s, {found.get('peak_mib', 0):.0f} MiB)"


if __name__ == "__main__":
    main()
