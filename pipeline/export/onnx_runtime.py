"""ONNX files, computed by onnxruntime."""

import torch
from torch import Tensor


class OnnxFile:
    """The content of a file, ready to compute on the CPU.

    Args:
        content: Of the file.
    """

    def __init__(self, content: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._names = [one.name for one in self._session.get_inputs()]

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Its one output."""
        given = {name: value.numpy() for name, value in zip(self._names, inputs, strict=True)}
        return torch.from_numpy(self._session.run(None, given)[0])
