"""One step of a recording as a project of ViRelAy, which shows attributions beside an embedding and its clusters.

Written from what its loader reads, without importing it (it is AGPL).
"""

import json
from pathlib import Path

import h5py
import numpy as np

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import atomic_folder
from lrp_dynamics.recording.store import RelevanceFile, normalize

DIMENSIONS = 8


def to_virelay(recording: RelevanceFile, folder: Path, step: int = -1) -> None:
    """Write a project: images, maps of one step, and embeddings of both maps and Dynamics by principal components.

    The clusters are the samples' labels and what the network predicted at that step. An analysis is there for all
    samples together and for each class.

    Parameters
    ----------
    recording : RelevanceFile
        Of images.
    folder : Path
        To be made: project.yaml, label-map.json, dataset.h5, attributions.h5, analysis.h5.
    step : int
        Which recorded step, -1 for the last.

    Raises
    ------
    UserError
        If the recording is not of images or has no maps, or there is something at the path.
    """
    if recording.unit != "pixel" or not recording.map_samples or not recording.steps:
        raise UserError(f"{recording.path}: ViRelAy shows maps of images, of which this recording has none")
    count, names = recording.map_samples, recording.attrs["classes"]
    maps, predicted = recording.maps(step), recording.scalar("predicted")[step][:count].astype(np.int64)
    labels = recording.sample("label")[:count].astype(np.int64)
    images = np.stack([recording.image(k) for k in range(count)])
    used = sorted({*labels.tolist(), *predicted.tolist(), *range(len(names))})
    told = {k: names[k] if 0 <= k < len(names) else "unknown" if k < 0 else f"class {k}" for k in used}
    name = str(recording.attrs["dataset"] or recording.path.stem)
    iteration = int(recording.step("iteration")[step])
    project = {
        "name": f"{name}, iteration {iteration}",
        "model": str(recording.attrs["model"] or "network"),
        "label_map": "label-map.json",
        "dataset": {"name": name, "type": "hdf5", "path": "dataset.h5"},
        "attributions": {
            "attribution_method": str(recording.attrs["composite"]),
            "attribution_strategy": "predicted_label" if recording.attrs["target"] == "predicted" else "true_label",
            "sources": ["attributions.h5"],
        },
        "analyses": [{"analysis_method": "Principal components", "sources": ["analysis.h5"]}],
    }
    with atomic_folder(folder) as made:
        (made / "project.yaml").write_text(json.dumps({"project": project}, indent=2), encoding="utf-8")  # YAML, too
        entries = [{"index": k, "word_net_id": f"class-{k}", "name": str(told[k])} for k in used]
        (made / "label-map.json").write_text(json.dumps(entries, indent=2), encoding="utf-8")
        with h5py.File(made / "dataset.h5", "w") as file:
            file["data"], file["label"] = images, labels
        with h5py.File(made / "attributions.h5", "w") as file:
            # It takes a map of one channel for none, and sums three.
            file["index"] = np.arange(count)
            file["attribution"] = np.pad(maps[:, None], ((0, 0), (0, 2), (0, 0), (0, 0)))
            file["label"], file["prediction"] = labels, np.eye(max(0, *used) + 1)[predicted] * (predicted >= 0)[:, None]
        with h5py.File(made / "analysis.h5", "w") as file:
            groups = {"all samples": np.arange(count)}
            groups |= {f"class-{k}": np.flatnonzero(labels == k) for k in used if (labels == k).sum() > 2}
            described = {"maps": normalize(maps), "dynamics": recording.accumulated("dynamics_normalized")[:count]}
            for category, members in groups.items():
                group = file.create_group(category)
                group["index"] = members
                for what, values in described.items():
                    points, share = principal_components(values[members].reshape(len(members), -1))
                    group[f"embedding/{what}"] = points
                    group[f"embedding/{what}"].attrs["eigenvalue"] = share
                group["cluster/label"], group["cluster/predicted"] = labels[members], predicted[members]


def principal_components(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the coordinates of rows along their first principal components, and the variance along each.

    Examples
    --------
    >>> points, variance = principal_components(np.array([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]]))
    >>> np.abs(points[:, 0]).round(6).tolist(), variance[0].round(6).item()
    ([2.0, 0.0, 2.0], 4.0)
    """
    centred = rows - rows.mean(axis=0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    points = (left * size)[:, :DIMENSIONS]
    short = max(0, 2 - points.shape[1])  # a picture has two axes
    return np.pad(points, ((0, 0), (0, short))), np.pad(size[:DIMENSIONS] ** 2 / max(1, len(rows) - 1), (0, short))
