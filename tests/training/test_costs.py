"""What recording costs is told before the training, in time and bytes that it then takes."""

import re

import torch

from lrp_dynamics import models
from lrp_dynamics.recording.recorder import Recorder
from lrp_dynamics.training.loop import Images, Settings, train

STEPS = 24


def trained(tmp_path, capsys, every):
    model = models.build("blog_cnn", n_classes=10)
    images = Images(torch.randint(0, 256, (60, 3, 32, 32), dtype=torch.uint8), torch.arange(60) % 10)
    samples = images.inputs(slice(8))

    def open_recorder(state):
        return Recorder(tmp_path / "r.h5", model, samples, images.labels[:8], every=every, resume=state, overwrite=True)

    settings = Settings(epochs=10, batch_size=10, max_steps=STEPS, learning_rate=1e-3)
    train(model, images, settings, seed=0, observers=[open_recorder])
    return re.search(r"lrp-dynamics: (a record takes .*)", capsys.readouterr().err).group(1)


def test_time_and_room_are_told(tmp_path, capsys):
    told = trained(tmp_path, capsys, 1)
    records, room = re.fullmatch(
        r"a record takes [\d.]+ s, (\d+) of them [\d.]+ s and up to (\d+) MB on the disk; recording.every: 10 takes a "
        "tenth", told
    ).groups()  # fmt: skip
    assert int(records) == STEPS + 1
    assert float(room) == round((STEPS + 1) * 8 * 32 * 32 * 2 / 1e6)


def test_a_tenth_is_not_told_of_few_steps(tmp_path, capsys):
    assert trained(tmp_path, capsys, 5).endswith("MB on the disk")
