"""A step of the optimizer; on a GPU the same step again as one CUDA graph, if that leaves the same bits."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

# What convolutions and matrix products of a training step are computed in; weights stay in float32 (mixed precision).
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
WARM = 3  # steps run as they are first: libraries set themselves up, and the optimizer makes what it keeps
EAGER, REPLAYED = "operation by operation", "as one CUDA graph"


class Step:
    """One step of the optimizer, in the precision asked for.

    Parameters
    ----------
    model : nn.Module
    optimizer : torch.optim.Optimizer
        Of the model's parameters; on a GPU capturable, as Adam has to be told.
    loss : callable
        Of logits (n, K), in float32, and labels (n,).
    precision : str
        A key of `PRECISIONS`.
    device : torch.device
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, loss: Callable, precision: str, device: torch.device
    ):
        self.model, self.optimizer, self._loss = model, optimizer, loss
        self._autocast = partial(
            torch.autocast, device.type, PRECISIONS[precision], enabled=precision != "float32", cache_enabled=False
        )
        # float16 ends at 6e-8, where many gradients lie: it multiplies the loss, and skips steps that become infinite.
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")

    def __call__(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return loss and accuracy (2,) of the batch before the step, on the device."""
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            logits = self.model(inputs)
        loss = self._loss(logits.float(), labels)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return torch.stack([loss.detach(), (logits.argmax(1) == labels).float().mean()])

    def state(self) -> Iterator[Tensor]:
        """Yield every tensor that a step changes: weights, statistics, and what the optimizer keeps."""
        yield from self.model.state_dict().values()
        for kept in self.optimizer.state.values():
            yield from (value for value in kept.values() if isinstance(value, Tensor))


def recorded(step: Step, inputs: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    """Record a step on a GPU, without taking it; return a function that takes it on what these tensors hold then."""
    graph = torch.cuda.CUDAGraph()
    step.optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # another thread may write a recording meanwhile
        found = step(inputs, labels)

    def replay() -> Tensor:
        graph.replay()
        return found

    return replay


class Steps:
    """Steps of a training, from the fourth on as one CUDA graph, on a GPU where a look at one tells that it may.

    The fourth step is taken both ways, from the same weights and random numbers. Where what follows differs in a single
    bit, or a step cannot be recorded, as with a scaled loss, all steps run operation by operation.

    Attributes
    ----------
    ran : str
        How the last step ran, and why, if a graph was refused.
    """

    def __init__(self, step: Step, record: Callable = recorded, device: str = "cuda"):
        self.ran, self._step, self._record = EAGER, step, record
        self._device, self._count = device, 0
        self._inputs: tuple[Tensor, Tensor] | None = None
        self._replay: Callable[[], Tensor] | None = None

    def __call__(self, inputs: Tensor, labels: Tensor) -> tuple[float, float]:
        """Take a step; return loss and accuracy of the batch before it."""
        self._count += 1
        if self._replay is not None and inputs.shape == self._inputs[0].shape:
            loss, accuracy = self._again(inputs, labels).tolist()
        elif self._count == WARM + 1 and inputs.device.type == self._device and not self._step.scaler.is_enabled():
            loss, accuracy = self._try(inputs, labels).tolist()
        else:
            loss, accuracy = self._step(inputs, labels).tolist()  # in one copy from the device
        return loss, accuracy

    def _again(self, inputs: Tensor, labels: Tensor) -> Tensor:
        for mine, given in zip(self._inputs, (inputs, labels), strict=True):
            mine.copy_(given)
        return self._replay()

    def _try(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Take a step both ways, and keep the graph if both come to the same."""
        step = self._step
        before, random = [value.clone() for value in step.state()], _random_state(inputs.device)
        found = step(inputs, labels)
        after = [value.clone() for value in step.state()]
        try:
            self._inputs = inputs.clone(), labels.clone()
            _put(step.state(), before)
            _set_random_state(inputs.device, random)
            self._replay = self._record(step, *self._inputs)
            same = torch.equal(self._replay(), found)
            if not (same and all(map(torch.equal, step.state(), after))):
                raise RuntimeError("it comes to other weights")
            self.ran = REPLAYED
        except RuntimeError as error:  # also if memory does not suffice
            self._replay = self._inputs = None
            self.ran = f"{EAGER}, since a graph was refused: {str(error).splitlines()[0]}"
            _set_random_state(inputs.device, random)
            _put(step.state(), before)
            found = step(inputs, labels)  # once more, for gradients and random numbers to be those of a step
        return found


def _put(state: Iterator[Tensor], values: list[Tensor]) -> None:
    with torch.no_grad():
        for mine, value in zip(state, values, strict=True):
            mine.copy_(value)


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)
