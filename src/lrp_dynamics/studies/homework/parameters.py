"""The parameters of an experiment of kind `homework`: a training, and explanations at its checkpoints."""

from dataclasses import dataclass

from lrp_dynamics.base.fit import Dataset, check_checkpoints, check_training
from lrp_dynamics.base.kinds import BOOLEAN, COUNT, TEXT, whole
from lrp_dynamics.base.parameters import Section, nested, parameter, same
from lrp_dynamics.base.training_sections import SEEDS, Checkpoints, SignedInputs, Training, model_name


@dataclass(frozen=True)
class Descent(Section):
    """How the network is trained."""

    iterations: int = parameter(COUNT, "stochastic gradient descent without momentum", 10000)
    batch_size: int = same(Training, "batch_size", default=25)
    learning_rate: float = same(Training, "learning_rate", default=0.01)
    threads: int = same(Training, "threads")
    device: str = same(Training, "device")


@dataclass(frozen=True)
class Figures(Section):
    """What is drawn."""

    samples: int = parameter(whole(1, 10), "images in the figures along the training", 4)
    published: bool = parameter(BOOLEAN, "draw the published accuracies, which are of CIFAR-10", False)


@dataclass(frozen=True)
class Homework(Section):
    """Training a ConvNet and explaining its predictions."""

    dataset: str = parameter(TEXT, "one of the datasets")
    model: str = parameter(model_name("homework_cnn"), "the network", "homework_cnn")
    seeds: list[int] = parameter(SEEDS, "one training each: of initial weights and order of the images", [0])
    inputs: SignedInputs = nested(SignedInputs)
    training: Descent = nested(Descent)
    checkpoints: Checkpoints = nested(Checkpoints, required=True)
    explained: int = parameter(whole(2, 100), "of them, those with most evidence for their class", 50)
    figures: Figures = nested(Figures)

    def check_fit(self, dataset: Dataset) -> None:
        """Refuse batches and tests that are more than the images, and checkpoints beyond the last step."""
        check_training(self.training, dataset)
        check_checkpoints(self.checkpoints, dataset, self.training.iterations)


EXPERIMENTS: dict[str, type[Section]] = {"homework": Homework}
