"""Export to ONNX."""

import importlib
import json
from pathlib import Path
from types import ModuleType

import numpy as np

from deepbelief.errors import MissingExtraError, SettingError
from deepbelief.estimators.feedforward import FeedForward, Part, feedforward
from deepbelief.hdf5 import replacing, versions
from deepbelief.typing import Array, Estimator

OPSET = 17
IR_VERSION = 8  # the version released with opset 17, so that readers of the opset can read the file
OPERATORS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "softsign": "Softsign", "relu": "Relu", "hard_tanh": "Clip"}


def to_onnx(model: Estimator, path: str | Path, *, part: Part = "auto") -> None:
    """Write a fitted model as an ONNX graph (opset 17) with a free batch axis.

    The input is ``X``, rows in the units of the data; the output is ``Y``, or ``Y0``, ``Y1`` ... for several tasks.
    The file's metadata hold ``classes`` (JSON: one list for each softmax), ``model`` and ``deepbelief``.

    Parameters
    ----------
    model : fitted DBNClassifier, DBNRegressor, DeepAutoencoder, DBN, RBM or Stack
    path : str or Path
    part : {"auto", "encoder", "decoder"}, default="auto"
        As in `deepbelief.export.feedforward`.

    Raises
    ------
    MissingExtraError
        If the package onnx is not installed.
    SettingError
        If the model, or one of its activations, has no equivalent.
    """
    network = feedforward(model, part)
    try:
        onnx: ModuleType = importlib.import_module("onnx")
    except ImportError as error:
        raise MissingExtraError('to_onnx needs onnx: pip install "deepbelief[onnx]"') from error
    graph = _Graph(onnx, network)
    outputs = graph.build()
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(network.dtype))
    value = onnx.helper.make_tensor_value_info
    made = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "deepbelief",
            [value("X", kind, ["rows", network.n_inputs])],
            [value(name, kind, ["rows", size]) for name, size in outputs],
            graph.constants,
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="deepbelief",
        producer_version=versions()["deepbelief"],
    )
    classes = json.dumps([c.tolist() for c in network.classes])
    onnx.helper.set_model_props(
        made, {"classes": classes, "model": type(model).__name__, "deepbelief": versions()["deepbelief"], "part": part}
    )
    onnx.checker.check_model(made)
    with replacing(path) as temporary:
        temporary.write_bytes(made.SerializeToString())


class _Graph:
    """The nodes and constants of a graph under construction."""

    def __init__(self, onnx: ModuleType, network: FeedForward) -> None:
        self.onnx, self.network = onnx, network
        self.nodes: list[object] = []
        self.constants: list[object] = []

    def constant(self, name: str, array: Array) -> str:
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, operator: str, inputs: list[str], name: str, **attributes: object) -> str:
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [name], **attributes))
        return name

    def build(self) -> list[tuple[str, int]]:
        """Add all nodes and return the outputs with their widths."""
        x, dtype = "X", self.network.dtype
        for i, layer in enumerate(self.network.layers):
            W, b = self.constant(f"W{i}", layer.W), self.constant(f"b{i}", layer.bias)
            x = self.node("Gemm", [x, W, b], f"linear{i}")
            name = layer.activation.name
            if name == "identity":
                continue
            if name not in OPERATORS:
                raise SettingError(
                    f"activation {name!r} has no ONNX operator: retrain with one of {', '.join(OPERATORS)}"
                )
            limits = []
            if name == "hard_tanh":
                limits = [self.constant(f"low{i}", np.array(-1, dtype)), self.constant(f"high{i}", np.array(1, dtype))]
            x = self.node(OPERATORS[name], [x, *limits], f"{name}{i}")
        return self.output(x)

    def output(self, x: str) -> list[tuple[str, int]]:
        network = self.network
        if len(network.groups) > 1:
            sizes = self.constant("groups", np.array(network.groups, np.int64))
            parts = [f"part{k}" for k in range(len(network.groups))]
            self.nodes.append(self.onnx.helper.make_node("Split", [x, sizes], parts, axis=1))
            return [
                (self.node("Softmax", [p], f"Y{k}", axis=1), n)
                for k, (p, n) in enumerate(zip(parts, network.groups, strict=True))
            ]
        if network.groups:
            x = self.node("Softmax", [x], "softmax", axis=1)
        elif network.logistic:
            x = self.node("Sigmoid", [x], "output")
        if network.mean is not None and network.scale is not None:
            x = self.node("Mul", [x, self.constant("scale", network.scale.astype(network.dtype))], "scaled")
            x = self.node("Add", [x, self.constant("mean", network.mean.astype(network.dtype))], "units")
        return [(self.node("Identity", [x], "Y"), network.n_outputs)]
