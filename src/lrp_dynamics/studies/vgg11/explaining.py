"""LRP of test images with the from-scratch repository's rules, with its filter of the largest relevance and without.

docs/studies/vgg11.md tells what is done here.
"""

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lrp_dynamics import lrp
from lrp_dynamics.base import files
from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.parameters import normal, pick
from lrp_dynamics.data import prepared
from lrp_dynamics.data.prepared import test_images
from lrp_dynamics.measures.classification import check_same
from lrp_dynamics.models import trained
from lrp_dynamics.studies.vgg11.parameters import Vgg11
from lrp_dynamics.training.data import Data
from lrp_dynamics.training.device import name_of, prepare_device
from lrp_dynamics.training.plans import Plan, open_recorder

PARAMETERS = pick(Vgg11, "explanations", "seed", threads="training.threads", device="training.device")


def composites(top_k: float) -> dict[str, lrp.Composite]:
    """Return the rules by folder of the results; both start from the probabilities of all classes.

    `top_k` is the share of each layer's relevance values that goes on.
    """
    every = lrp.COMPOSITES["from_scratch"]
    return {"all": every, "top_k": replace(every, name="from_scratch_top_k", top_k=top_k)}


def run_explanations(model: Path, data: Path, params: Mapping[str, Any], out: Path) -> None:
    """Explain test images, the classes in turn, and measure how many are explained in a second.

    Parameters
    ----------
    model : Path
        model.safetensors of the training.
    data : Path
        The prepared dataset.
    params : mapping
        "explanations" {"images", "top_k", "speed_images", "batch_size"}, "threads", "device".
    out : Path
        Gets <name>/relevance.h5 of each of `composites` (recordings of one step) and speed.json, which, like all times,
        is another one each time.
    """
    params = normal(PARAMETERS, params)
    options = params["explanations"]
    device, network = prepare_device(params), trained.load(str(model))
    about = network.about
    source = Data.read(data, {"low": about.low, "high": about.high}, device)
    dataset = source.dataset
    check_same(network, dataset)
    test = np.flatnonzero(dataset.split == prepared.TEST)
    if not len(test):
        raise UserError(f"dataset {dataset.name!r} has no test images to explain")
    net = network.model.to(device)
    told = {"model": about.model, "inputs": source.inputs, "seed": params["seed"], "explanations": dict(options)}
    out.mkdir(parents=True, exist_ok=True)
    speed: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=out) as temporary:
        for name, composite in composites(options["top_k"]).items():
            recording = {"composite": composite.describe(), "name": name, "maps": options["images"]}
            plan = Plan(test_images(dataset, options["images"]), recording, told | {"recording": recording})
            recorder = open_recorder(Path(temporary) / f"{name}.h5", net, source, plan)
            recorder.record(0)
            recorder.close()
            images = source.images(test[: options["speed_images"]])
            explainer = lrp.Explainer(net, composite)
            speed[name] = frames_per_second(explainer, images.inputs(slice(None)), options["batch_size"])
            print(f"{name}: {speed[name]:.1f} images explained in a second")
        for name in speed:
            (out / name).mkdir(exist_ok=True)
            files.check_output(out / name / "relevance.h5")
            os.replace(Path(temporary) / f"{name}.h5", out / name / "relevance.h5")
    where = {"device": name_of(device), "threads": torch.get_num_threads()}
    done = {"images": min(len(test), options["speed_images"]), "batch_size": options["batch_size"]}
    files.write_json(out / "speed.json", {"frames_per_second": speed} | where | done)


def frames_per_second(explain: Callable[[Tensor, str], Any], inputs: Tensor, batch_size: int) -> float:
    """Return how many images are explained in a second, in batches, after one batch that is not counted."""
    batches = inputs.split(batch_size)
    explain(batches[0], "predicted")
    finish = torch.cuda.synchronize if inputs.is_cuda else lambda: None
    finish()
    start = time.perf_counter()
    for batch in batches:
        explain(batch, "predicted")
    finish()
    return len(inputs) / (time.perf_counter() - start)
