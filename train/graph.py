"""A training step as one CUDA graph, which is launched at once: a step has about a thousand kernels."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

_LOG = logging.getLogger(__name__)

Step = Callable[..., Tensor]
"""Changes tensors in place, from tensors on the device alone, and waits for nothing; gives its losses [n]."""

_EAGER_STEPS = 3
_LOSS_TOLERANCE = 1e-3
_STATE_TOLERANCE = 0.1


class GraphedStep:
    """A step that is taken as it is at first, then as a recording, if that does the same.

    The fourth call records the step and takes it both ways from the same state. A recording whose losses or changes
    differ, or that cannot be made, is never used. What remains of that call is the plain step's work.

    Args:
        step: The step; where it draws, from `generator` alone.
        changed: All tensors that it changes, once it was taken; the same tensors ever after.
        generator: On the device.
        record: Makes a recording of the step, from inputs like these.

    Where it stays with the plain step, a line of the log says why.

    Attributes:
        says: How the steps after the fourth are taken, in one line; empty before.
    """

    def __init__(
        self,
        step: Step,
        changed: Callable[[], Sequence[Tensor]],
        generator: torch.Generator | None,
        record: "Callable[[Step, Sequence[Tensor], torch.Generator | None], Step] | None" = None,
    ) -> None:
        self._step, self._changed, self._generator, self._record = step, changed, generator, record or record_graph
        self._calls, self._replay, self._shapes = 0, step, []
        self.says = ""

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Take the step; the losses are overwritten by the next."""
        self._calls += 1
        if self._calls <= _EAGER_STEPS:
            return _beside(self._step, inputs)
        if self._calls == _EAGER_STEPS + 1:
            return self._recorded(inputs)
        same = [tensor.shape for tensor in inputs] == self._shapes
        return (self._replay if same else self._step)(*inputs)

    def _recorded(self, inputs: Sequence[Tensor]) -> Tensor:
        self._shapes = [tensor.shape for tensor in inputs]
        tensors = list(self._changed())
        before = [tensor.clone() for tensor in tensors]
        draw = self._generator
        random, spare = (
            (draw.get_state(), draw.clone_state() if draw.device.type == "cuda" else None) if draw else (None, None)
        )
        try:
            replay = self._record(self._step, inputs, self._generator)
            losses = replay(*inputs).clone()
            after = [tensor.clone() for tensor in tensors]
        except Exception as error:  # whatever a driver or version makes of it: the plain step is there
            first = str(error).strip().split("\n", 1)[0]
            replay, losses, after = None, None, None
            if draw and spare:
                draw.graphsafe_set_state(spare)  # a recording that broke off may hold its own for good
            self.says = f"steps: eager, since they could not be recorded ({type(error).__name__}: {first})"
        torch._foreach_copy_(tensors, before)  # pyright: ignore[reportPrivateImportUsage]
        if draw and random is not None:
            draw.set_state(random)
        wanted = self._step(*inputs)
        if replay is not None and losses is not None and after is not None:
            if _alike(losses, wanted, after, tensors, before):
                self._replay, self.says = replay, "steps: one CUDA graph"
            else:
                self.says = "steps: eager, since the CUDA graph gave other numbers"
        _LOG.log(logging.INFO if self._replay is not self._step else logging.WARNING, self.says)
        return wanted


def _alike(
    losses: Tensor, wanted: Tensor, after: Sequence[Tensor], right: Sequence[Tensor], before: Sequence[Tensor]
) -> bool:
    """Whether two steps did the same, but for the order of additions, which may turn the sign of a tiny gradient."""
    if not torch.allclose(losses, wanted, rtol=_LOSS_TOLERANCE, atol=1e-6, equal_nan=True):
        return False
    wrong = torch.zeros_like(losses[0])
    for found, own, old in zip(after, right, before, strict=True):
        off, moved = ((one.float() - other.float()).abs().sum() for one, other in ((found, own), (own, old)))
        # Each by its own size: counters move by 1, weights by the learning rate.
        wrong += found.numel() * torch.where(off == 0, 0.0, (off / moved).clamp(max=1))
    return bool(wrong <= _STATE_TOLERANCE * sum(tensor.numel() for tensor in right))


def _beside(step: Step, inputs: Sequence[Tensor]) -> Tensor:
    """Take a step on a stream of its own, as PyTorch wants of what is recorded later."""
    device = inputs[0].device
    if device.type != "cuda":
        return step(*inputs)
    stream, current = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        losses = step(*inputs)
    current.wait_stream(stream)
    losses.record_stream(current)
    return losses


_POOLS: dict[torch.device, Any] = {}
"""Memory of all graphs of a device: they are replayed one after the other, and leave nothing there but losses."""


def record_graph(step: Step, inputs: Sequence[Tensor], generator: torch.Generator | None) -> Step:
    """The step as a CUDA graph; it was taken before, so that all state and workspaces are there.

    Args:
        step: See `GraphedStep`.
        inputs: Copied to tensors of the graph's own at each replay.
        generator: Its offset moves on with each replay as with each step.
    """
    device = inputs[0].device
    own = [tensor.clone() for tensor in inputs]
    graph = torch.cuda.CUDAGraph()
    if generator is not None:
        graph.register_generator_state(generator)
    with torch.cuda.device(device):
        if device not in _POOLS:
            _POOLS[device] = torch.cuda.graph_pool_handle()
        # Reading threads go on with calls that a capture of all threads would forbid: page-locked memory, copies.
        with torch.cuda.graph(graph, pool=_POOLS[device], capture_error_mode="thread_local"):
            losses = step(*own)

    def replay(*given: Tensor) -> Tensor:
        torch._foreach_copy_(own, list(given), non_blocking=True)  # pyright: ignore[reportPrivateImportUsage]
        graph.replay()
        return losses

    return replay
