"""A checkpoint as an ONNX file or a `torch.export` program, checked before it is written."""

import io
import json
import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...cache import SpaceClipError, size_text, write_atomically
from ..config import Experiment
from ..paths import require_writable
from ..prediction import SpaceClip
from .graphs import DecoderGraph, Graph, ImageGraph
from .onnx_runtime import OnnxFile
from .quantisation import int8_linear, validation_errors

_SUFFIXES = (".onnx", ".pt2")
_TOLERANCE = 1e-3
_NEAREST = 0.01
"""Metres; nearer than this, differences are of this, not of the depth, which may be zero."""


def export_checkpoint(
    checkpoint: str,
    out: Path,
    *,
    revision: str | None = None,
    backbone: str | None = None,
    with_encoder: bool = False,
    int8: bool = False,
    experiment: Experiment | None = None,
    say: Callable[[str], None],
) -> None:
    """Write a checkpoint's decoder, or encoder and decoder, as a file that computes depth [B, h, w] in float32 metres.

    It computes in float32, for batches of any size. What is written gives the depth of this package to 1e-3, or
    nothing is written.

    Args:
        checkpoint: Folder, or hub id.
        out: The file: `.onnx`, or `.pt2` for `torch.export.load`.
        revision: Of the checkpoint on the hub.
        backbone: Where the encoder is, see `SpaceClip.from_pretrained`.
        with_encoder: From images on, else from hidden states.
        int8: Keep the weights of the encoder's and the decoder's linear layers in int8, and multiply in it.
        experiment: Whose validation images say what int8 changes.
        say: Called with each line that a user should know.

    Raises:
        SpaceClipError: It cannot be exported so, or the depth differs.
        OSError: The file cannot be written.
    """
    if out.suffix not in _SUFFIXES:
        raise SpaceClipError(f"{out}: no format is known by this ending; expected {' or '.join(_SUFFIXES)}")
    if int8 and not (with_encoder and out.suffix == ".onnx"):
        raise SpaceClipError(
            "int8 is of linear layers in .onnx files, which are the encoder's: give --with-encoder and an .onnx file "
            "(a decoder is convolutions, which onnxruntime's dynamic int8 makes slower)"
        )
    if out.is_dir():
        raise SpaceClipError(f"{out}: is a folder, expected the name of a file")
    require_writable(out.parent)
    model = SpaceClip.from_pretrained(checkpoint, revision=revision, backbone=backbone, device="cpu")
    # Whatever the encoder computed in when the features were made: not every runtime has bfloat16.
    model.info = model.info.model_copy(update={"backbone": {**model.info.backbone, "precision": "float32"}})
    graph = ImageGraph(model) if with_encoder else DecoderGraph(model)
    facts = _facts(model, graph)
    with torch.no_grad():
        content, compute = (_onnx if out.suffix == ".onnx" else _pt2)(graph, facts)
        worst = _largest_difference(graph, compute)
    if not worst <= _TOLERANCE:
        raise SpaceClipError(
            f"{out}: not written, since its depth differs by {worst:.2g} of PyTorch's: expected 1e-3 or less"
        )
    what = "encoder and decoder" if with_encoder else "decoder"
    say(f"{what} in float32, {size_text(len(content))}: largest difference to PyTorch {worst:.1e} of the depth")
    if int8:
        with _quiet():
            content = int8_linear(content)
        small = OnnxFile(content)
        with torch.no_grad():
            worst = _largest_difference(graph, small)
        if not math.isfinite(worst):
            raise SpaceClipError(
                f"{out}: not written, since in int8 it has no depth (it differs by {worst}): leave --int8 out"
            )
        say(f"linear layers in int8, {size_text(len(content))}: largest difference to PyTorch {worst:.1e} of the depth")
        if experiment is None:
            say("what that changes in AbsRel is not measured: give --config, an experiment with validation images")
        else:
            say(validation_errors(compute, small, model, experiment))
    write_atomically(out, content)
    say(f"{out}: {', '.join(graph.names)} -> depth [B, h, w] float32 metres, B of any size")


def _facts(model: SpaceClip, graph: Graph) -> dict[str, str]:
    camera = {"Training-Camera": str(model.training_camera)} if model.training_camera else {}
    inputs = {f"Input {name}": text for name, text in graph.about.items()}
    return {**model.facts, **camera, **inputs, "Output depth": "[B, h, w] float32, metres along the optical axis"}


def _traced(graph: Graph) -> torch.export.ExportedProgram:
    with _quiet():
        return torch.export.export(graph, graph.example(2), dynamic_shapes=_any_batch(graph), strict=False)


def _any_batch(graph: Graph) -> tuple[tuple[dict[int, Any], ...]]:
    batch = torch.export.Dim("batch", min=1, max=4096)
    return (tuple({0: batch} for _ in graph.names),)


def _onnx(graph: Graph, facts: dict[str, str]) -> tuple[bytes, Callable[..., Tensor]]:
    with _quiet():
        import onnx
        import onnxscript  # noqa: F401  what torch.onnx writes with; here it is missed by its name

        program = torch.onnx.export(
            _traced(graph),
            input_names=[*graph.names],
            output_names=["depth"],
            dynamic_shapes=_any_batch(graph),  # traced already: for its name
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        proto = program.model_proto
        onnx.helper.set_model_props(proto, facts)
        try:
            content = proto.SerializeToString()
        except ValueError as error:
            raise SpaceClipError("an ONNX file holds 2 GB at most: export the decoder alone, or a .pt2 file") from error
    return content, OnnxFile(content)


def _pt2(graph: Graph, facts: dict[str, str]) -> tuple[bytes, Callable[..., Tensor]]:
    content = io.BytesIO()
    program = _traced(graph)
    with _quiet():
        torch.export.save(program, content, extra_files={"spaceclip.json": json.dumps(facts)})
        content.seek(0)
        return content.getvalue(), torch.export.load(content).module()


def _largest_difference(graph: Graph, compute: Callable[..., Tensor]) -> float:
    """Of the depth, over batches of one and of three."""
    worst = []
    for batch in (1, 3):
        inputs = graph.example(batch)
        expected = graph.reference(*inputs)
        worst.append(((compute(*inputs) - expected).abs() / expected.clamp(min=_NEAREST)).max())
    return torch.stack(worst).max().item()  # of torch, which passes NaN on


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters tell of their own affairs."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
