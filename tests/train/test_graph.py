"""How a step is recorded, with recordings made up: no CUDA is needed."""

import pytest
import torch
from spaceclip.train.graph import GraphedStep


class Counter:
    """A step that adds a random share of its input to a weight."""

    def __init__(self):
        self.weight, self.draw = torch.zeros(5), torch.Generator().manual_seed(0)
        self.taken = self.replayed = 0

    def step(self, given):
        self.taken += 1
        return self._add(given)

    def _add(self, given, extra=0.0):
        self.weight += given * torch.rand(5, generator=self.draw) + extra
        return torch.stack([self.weight.sum(), given.sum()])

    def recording(self, extra):
        def record(step, inputs, generator):
            assert step == self.step and generator is self.draw and self.taken == 3  # noqa: PT018

            def replay(given):
                self.replayed += 1
                return self._add(given, extra)

            return replay

        return record

    @staticmethod
    def broken(step, inputs, generator):
        raise RuntimeError("not permitted when stream is capturing\nmore")


def losses_of(counter, record, steps=7):
    graphed = GraphedStep(counter.step, lambda: [counter.weight], counter.draw, record)
    return graphed, [graphed(torch.full((5,), 1.0 + number)).tolist() for number in range(steps)]


@pytest.fixture
def wanted():
    counter = Counter()
    return [counter.step(torch.full((5,), 1.0 + number)).tolist() for number in range(7)]


def test_a_recording_that_does_the_same_is_used_from_the_fifth_step(wanted):
    counter = Counter()
    graphed, losses = losses_of(counter, counter.recording(0.0))
    assert losses == wanted
    assert (counter.taken, counter.replayed) == (4, 1 + 3)
    assert graphed.says == "steps: one CUDA graph"
    graphed(torch.ones(1))
    assert counter.taken == 5  # the recording is of another shape


@pytest.mark.parametrize("extra", [0.3, float("nan")])
def test_a_recording_that_does_something_else_leaves_no_trace(wanted, extra, caplog):
    counter = Counter()
    graphed, losses = losses_of(counter, counter.recording(extra))
    assert losses == wanted
    assert (counter.taken, counter.replayed) == (7, 1)
    assert graphed.says == "steps: eager, since the CUDA graph gave other numbers"
    assert [(record.levelname, record.message) for record in caplog.records] == [("WARNING", graphed.says)]


def test_a_step_that_cannot_be_recorded_is_taken_as_it_is_and_says_so_in_one_line(wanted, caplog):
    counter = Counter()
    graphed, losses = losses_of(counter, counter.broken)
    assert losses == wanted
    assert counter.taken == 7
    assert graphed.says == (
        "steps: eager, since they could not be recorded (RuntimeError: not permitted when stream is capturing)"
    )
    assert [record.message for record in caplog.records] == [graphed.says]


@pytest.fixture
def training(small, recipe):
    """A step of training, its generator and its inputs."""
    from spaceclip.train import DepthDecoder
    from spaceclip.train.blocks import Dropout
    from spaceclip.train.step import TrainingStep

    torch.manual_seed(0)
    decoder, draw = DepthDecoder(small).train(), torch.Generator().manual_seed(0)
    for module in decoder.modules():
        if isinstance(module, Dropout):
            module.generator = draw
    states = [torch.randn(4, 4, small.hidden_size) for _ in small.layers]
    inputs = (torch.randn(4, small.hidden_size), 1 + torch.rand(4, 1, 24, 32), torch.rand(4, 1, 24, 32) > 0.5, *states)
    return TrainingStep(decoder, recipe, draw), draw, inputs


def test_the_step_of_training_can_be_replayed_from_the_tensors_it_names(training):
    """All that a step changes is named: put back, the step gives the same again, bit by bit."""
    step, draw, inputs = training

    def record(taken, _inputs, _generator):
        return taken

    graphed = GraphedStep(step._step, step._changed, draw, record)
    for _ in range(3):
        graphed(*inputs)
    before = {name: tensor.clone() for name, tensor in step.decoder.state_dict().items()}
    graphed(*inputs)
    assert graphed.says == "steps: one CUDA graph"
    assert not torch.equal(before["head.predict.weight"], step.decoder.state_dict()["head.predict.weight"])
    moments = step.optimizer.state[step.parameters[0]]
    assert moments["step"].item() == 4


def test_a_recording_that_does_not_know_the_learning_rate_is_not_used(training):
    """Steps are counted up and averages moved by far more than weights are where the rate is rising from nothing."""
    step, draw, inputs = training

    def record(taken, _inputs, _generator):
        def replay(*given):
            step.optimizer.param_groups[0]["lr"] = 0.0
            losses = taken(*given)
            step.optimizer.param_groups[0]["lr"] = 1e-6
            return losses

        return replay

    step.optimizer.param_groups[0]["lr"] = 1e-6
    graphed = GraphedStep(step._step, step._changed, draw, record)
    for _ in range(4):
        graphed(*inputs)
    assert graphed.says == "steps: eager, since the CUDA graph gave other numbers"
