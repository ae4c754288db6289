"""Linear layers in int8, and what that changes."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ...cache import SpaceClipError
from ...evaluate import Scorer
from ...extract import counted, describe, open_splits, prepare_image
from ...train import resize
from ..config import Experiment
from ..prediction import SpaceClip
from ..progress import progress


def int8_linear(content: bytes) -> bytes:
    """An ONNX file whose linear layers have int8 weights; their inputs are quantised as they come, by their range.

    Convolutions stay as they are: dynamic int8 makes them three times slower on a CPU.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load_from_string(content)
    model.metadata_props.add(key="Linear-Layers", value="int8 weights, inputs quantised as they come")
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "int8.onnx"
        quantize_dynamic(
            model,
            file,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QInt8,
        )
        return file.read_bytes()


def validation_errors(
    whole: Callable[[Tensor], Tensor], int8: Callable[[Tensor], Tensor], model: SpaceClip, experiment: Experiment
) -> str:
    """The AbsRel of an exported model in float32 and in int8 over the validation images of an experiment, in words.

    Args:
        whole: From an image [1, S, S, 3] uint8 to its depth [1, h, w].
        int8: The same in int8.
        model: What they were exported from.
        experiment: Its data set has a validation split with depth.

    Raises:
        SpaceClipError: It has none, or an image cannot be read.
    """
    sources = open_splits(experiment.data)
    if "val" not in sources or not (source := sources["val"]).entries:
        raise SpaceClipError("the experiment has no validation images to measure int8 on: give another --config")
    about = describe(experiment.data, "val", sources)
    protocol = experiment.evaluate.protocol("validation", about, *model.depth_range)
    protocol = protocol.model_copy(update={"flip_average": False})
    scorers = {compute: Scorer(protocol, regions=False) for compute in (whole, int8)}
    with progress("score", "images") as report:
        for row in range(len(source.entries)):
            sample = source.load(row)
            if sample.depth is not None:
                pixels = torch.tensor(prepare_image(sample.image, model.target_size, model.backbone.input_size))[None]
                for compute, scorer in scorers.items():
                    depth = resize(compute(pixels)[:, None], (sample.depth.shape[0], sample.depth.shape[1]))
                    scorer.add(sample.id, sample.scene, depth[0, 0].numpy(), sample.depth)
            report(row + 1, len(source.entries))
    scores = [scorer.scores() for scorer in scorers.values()]
    before, after = (found.mean["abs_rel"] for found in scores)
    images = counted(len(scores[0].images), "validation image")
    return f"AbsRel over {images}: float32 {before:.4f}, int8 {after:.4f} ({after - before:+.4f}); {protocol.label}"
