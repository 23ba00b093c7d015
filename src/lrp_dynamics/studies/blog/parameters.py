"""The parameters of an experiment of kind `dynamics`: a training, recorded, with its dynamics and outliers."""

from dataclasses import dataclass

from lrp_dynamics.base.fit import Dataset, check_recording, check_training
from lrp_dynamics.base.kinds import TEXT
from lrp_dynamics.base.parameters import Section, nested, parameter
from lrp_dynamics.base.training_sections import SEEDS, Inputs, Recording, Training, model_name
from lrp_dynamics.measures.parameters import Outliers
from lrp_dynamics.reports.parameters import AlongTraining


@dataclass(frozen=True)
class Dynamics(Section):
    """The experiment of both posts."""

    dataset: str = parameter(TEXT, "one of the datasets")
    model: str = parameter(model_name("blog_cnn", "homework_cnn"), "the network", "blog_cnn")
    seeds: list[int] = parameter(SEEDS, "one training each: of initial weights and order of the images", [0])
    inputs: Inputs = nested(Inputs)
    training: Training = nested(Training)
    recording: Recording = nested(Recording)
    outliers: Outliers = nested(Outliers)
    figures: AlongTraining = nested(AlongTraining)

    def check_fit(self, dataset: Dataset) -> None:
        """Refuse batches and samples that are more than the images, and steps recorded beyond the last one."""
        check_recording(self.recording, dataset, check_training(self.training, dataset))


EXPERIMENTS: dict[str, type[Section]] = {"dynamics": Dynamics}
