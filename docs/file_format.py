"""Write what a recording holds, as the code that makes one lays it out: docs/file-format.md and relevance.format.json.

python docs/file_format.py            writes both
python docs/file_format.py --check    tells whether they are what they would be
"""

import argparse
import json
import sys
from pathlib import Path

import h5py
import numpy as np

from lrp_dynamics.recording import layout, store

DOCS = Path(__file__).parent
PAGE, DESCRIPTION = DOCS / "file-format.md", DOCS / "_static" / "relevance.format.json"
START, END = "<!-- table: python docs/file_format.py -->", "<!-- end -->"

# Lengths that no two axes share: they tell in the file which axis is which.
AXES = {"N": 7, "M": 5, "H": 11, "W": 13, "S": 8}
# Of each sample its own, whatever its shape; and a length that is also one of an axis.
OWN_AXES = {"samples/image": ["N", "..."], "samples/target": ["N", "..."], "accum/*/crc32": ["6"]}
UNIT = "logit"  # of the explained output
# What the code does not state: unit and meaning of each dataset.
MEANING = {
    "samples/factors/*": ("", "what is known about the samples, one dataset a factor"),
    "samples/image": ("", "images (N, C, H, W): pixels from 0 to 255; of other samples f4, the samples themselves"),
    "samples/index": ("", "number of the sample in its dataset"),
    "samples/label": ("", "class in training; −1: not known"),
    "samples/label_clean": ("", "class before label noise was added; −1: not known"),
    "samples/mask": ("", "0 background, 1 object, 2 distractor, 3 cue"),
    "samples/split": ("", "0 training, 1 test"),
    "samples/target": (
        "",
        "what is explained, where it is not the label: classes (N), or weights in the shape of the outputs",
    ),
    "steps/epoch": ("epochs", "of the training"),
    "steps/iteration": ("training steps", "0 is the untrained network; increases"),
    "steps/learning_rate": ("", "NaN: not told"),
    "steps/train_loss": ("", "of the training step before; NaN: not told"),
    "scalars/absorbed": (UNIT, "relevance that biases, stabilizers and dead units kept: initial = r_sum + absorbed"),
    "scalars/entropy": ("nats", "of \\|R\\| / Σ \\|R\\| over pixels"),
    "scalars/initial": (UNIT, "relevance put in at the output"),
    "scalars/logit": (UNIT, "the explained output"),
    "scalars/margin": (UNIT, "logit minus the largest other; NaN where there is none"),
    "scalars/min_abs_z": ("a layer's output", "smallest denominator that relevance met; inf where it met none"),
    "scalars/predicted": ("", "class of the largest output; −1 where the output has no classes"),
    "scalars/probability": ("1", "softmax of the explained class; NaN where no class is explained"),
    "scalars/r_abs_sum": (UNIT, "Σ over pixels of \\|R\\|"),
    "scalars/r_max": (UNIT, "largest \\|R\\|"),
    "scalars/r_sum": (UNIT, "Σ over pixels of R"),
    "scalars/step_divergence": (UNIT, "Σ over pixels of \\|R_i − R_(i−1)\\|; 0 at the first step"),
    "relevance/map": ("1", "relevance summed over channels, divided by `scale`; from −1 to 1"),
    "relevance/scale": (UNIT, "largest \\|R\\| of the map; 1 of a map of zeros"),
    "accum/*/abs_sum": (UNIT, "Σ over steps of \\|R\\|"),
    "accum/*/crc32": ("", "CRC-32 of the other datasets of this slot"),
    "accum/*/dynamics": (UNIT, "Σ over steps of \\|R_i − R_(i+1)\\|, summed up from maps before they were rounded"),
    "accum/*/dynamics_normalized": ("1", "the same of maps that were divided by their own Σ \\|R\\|"),
    "accum/*/m2": (f"{UNIT}²", "second central moment over steps: variance × steps"),
    "accum/*/mean": (UNIT, "mean over steps"),
    "accum/*/n": ("", "steps that are in these sums: so many are whole"),
    "accum/valid_slot": ("", "0: the sums of A hold, 1: those of B"),
    "checksums/attributes": ("", "CRC-32 of all attributes but `complete`"),
    "checksums/samples": ("", "CRC-32 of each dataset of `/samples`, in order of their names"),
    "checksums/steps": ("", "CRC-32 of each step of each dataset of `/steps`, `/scalars`, `/relevance`, in order"),
}


def example() -> h5py.File:
    """Return a recording without steps, in memory, of samples of which everything is known."""
    n, shape = AXES["N"], (AXES["H"], AXES["W"])
    samples = {name: np.zeros(n) for name in store.SAMPLE_FIELDS}
    samples |= {"image": np.zeros((n, 3, *shape)), "mask": np.zeros((n, *shape)), "target": np.zeros(n)}
    samples["factors"] = {"contrast": np.zeros(n, "f4")}
    file = h5py.File("example", "w", driver="core", backing_store=False)
    layout.create(file, {}, samples, shape, AXES["M"], "i2")
    return file


def description() -> dict:
    """Return what a recording holds, as plain data."""
    names = {size: axis for axis, size in AXES.items()}
    optional = {name.removesuffix("?") for name in store.LAYOUT.datasets if name.endswith("?")} | {"samples/factors/*"}
    found: dict[str, dict] = {}

    def add(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        name = name.replace("accum/A/", "accum/*/").replace("accum/B/", "accum/*/")
        name = "samples/factors/*" if name.startswith("samples/factors/") else name
        growing = item.maxshape and item.maxshape[0] is None
        axes = ["T" if growing and axis == 0 else names.get(size, str(size)) for axis, size in enumerate(item.shape)]
        if name in OWN_AXES:
            axes = OWN_AXES[name]
        wide = {
            "samples/image": ["f4"],
            "samples/target": ["i4", "i8", "u1", "f4"],
            "samples/factors/*": ["any number"],
        }
        classes = ["i4", "i8"] if name in ("samples/label", "samples/label_clean", "scalars/predicted") else []
        unit, meaning = MEANING[name]
        found[name] = {
            "types": [item.dtype.str[1:], *wide.get(name, classes)],
            "axes": axes,
            "required": name not in optional and not name.startswith("checksums/"),
            "compressed": item.compression == "gzip",
            "unit": unit,
            "meaning": meaning.replace("\\|", "|"),
        }

    with example() as file:
        file.visititems(add)
        assert found.keys() == MEANING.keys(), found.keys() ^ MEANING.keys()
    return {
        "schema": store.SCHEMA,
        "schema_versions": [store.VERSION, *store.OLDER],
        "container": "HDF5",
        "axes": {
            "T": "recorded steps; a dataset may be longer: accum/<valid slot>/n steps are whole",
            "N": "samples",
            "M": "samples whose maps are stored, the first ones, at most N",
            "...": "any more axes",
            "H, W": "height and width of a map; of other samples in their place (L), (F) or (D, H, W)",
            "S": "datasets of /samples",
        },
        "slots": ["A", "B"],
        "attributes": dict(store.LAYOUT.attributes),
        "datasets": {name: found[name] for name in MEANING},
    }


def table(content: dict) -> str:
    """Return the tables of the page."""
    lines = ["| dataset | type | axes | unit | |", "|---|---|---|---|---|"]
    for name, item in content["datasets"].items():
        own = item["types"][0] + ("" if item["required"] else ", optional")
        meaning = item["meaning"].replace("|", "\\|")
        lines.append(f"| `/{name}` | {own} | {' × '.join(item['axes']) or 'none'} | {item['unit']} | {meaning} |")
    lines += ["", "| attribute of the file | |", "|---|---|"]
    for name, kind in content["attributes"].items():
        lines.append(f"| `{name}` | {store.ATTRIBUTES[name][1] if name in store.ATTRIBUTES else kind} |")
    lines += ["", "| axis | |", "|---|---|", *(f"| {axis} | {what} |" for axis, what in content["axes"].items())]
    return "\n".join(lines)


def main() -> None:
    """Write page and description, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; end with status 1 if a file differs")
    content = description()
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    after = rest.partition(END)[2]
    made = {
        PAGE: f"{before}{START}\n\n{table(content)}\n\n{END}{after}",
        DESCRIPTION: json.dumps(content, indent=2, ensure_ascii=False) + "\n",
    }
    stale = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if parser.parse_args().check:
        sys.exit(f"stale: {', '.join(path.name for path in stale)}; run docs/file_format.py" if stale else 0)
    for path in stale:
        path.write_text(made[path], encoding="utf-8")


if __name__ == "__main__":
    main()
