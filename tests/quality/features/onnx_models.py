"""Small ONNX files of exactly the published inputs and outputs, whose answers can be worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
KINDS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
SIDE = 640


def save(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, np.ndarray]) -> Path:
    """The file of a graph, checked by onnx."""
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "small", inputs, outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def yunet(path: Path, cells: list[dict[str, Any]]) -> Path:
    """A YuNet that sees the same faces in every picture: each cell has stride, column, row, cls, obj, bbox, kps."""
    tables = {
        f"{kind}_{stride}": np.zeros((1, (SIDE // stride) ** 2, width), np.float32)
        for kind, width in KINDS.items()
        for stride in (8, 16, 32)
    }
    for cell in cells:
        row = cell["row"] * (SIDE // cell["stride"]) + cell["column"]
        for kind in KINDS:
            tables[f"{kind}_{cell['stride']}"][0, row] = cell[kind]
    nodes = [helper.make_node("Identity", [f"{name}_table"], [name]) for name in tables]
    outputs = [helper.make_tensor_value_info(name, FLOAT, table.shape) for name, table in tables.items()]
    given = [helper.make_tensor_value_info("input", FLOAT, [1, 3, SIDE, SIDE])]
    return save(path, nodes, given, outputs, {f"{name}_table": table for name, table in tables.items()})


def red_yunet(path: Path, kps: list[float]) -> Path:
    """A YuNet whose score is how red a cell of stride 8 is (BGR, 0 to 255), with boxes of one cell around centres."""
    tables = {
        f"{kind}_{stride}": np.zeros((1, (SIDE // stride) ** 2, width), np.float32)
        for kind, width in KINDS.items()
        for stride in (8, 16, 32)
    }
    tables["obj_8"][:] = 1
    tables["bbox_8"][0, :, :2] = 0.5
    tables["kps_8"][:] = kps
    constants = {f"{name}_table": table for name, table in tables.items() if name != "cls_8"}
    constants["redness"] = np.array([-1, -1, 1], np.float32).reshape(1, 3, 1, 1) / 255
    constants["column"] = np.array([1, -1, 1], np.int64)
    nodes = [helper.make_node("Identity", [f"{name}_table"], [name]) for name in tables if name != "cls_8"]
    nodes += [
        helper.make_node("Conv", ["input", "redness"], ["red"]),
        helper.make_node("AveragePool", ["red"], ["cells"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Reshape", ["cells", "column"], ["cls_8"]),
    ]
    outputs = [helper.make_tensor_value_info(name, FLOAT, table.shape) for name, table in tables.items()]
    given = [helper.make_tensor_value_info("input", FLOAT, [1, 3, SIDE, SIDE])]
    return save(path, nodes, given, outputs, constants)


def auraface(path: Path, *, head: str = "", name: str = "", before: int = 0) -> Path:
    """A recogniser whose vector is the mean colour of each quarter of the crop, minus mid grey, in [-1, 1].

    head: "" (takes normalised values), "SubMul" (normalises by itself). name: of those two nodes. before: nodes that do
    nothing ahead of them.
    """
    nodes, last = [], "data"
    for index in range(before):
        nodes.append(helper.make_node("Identity", [last], [f"same{index}"], name=f"same{index}"))
        last = f"same{index}"
    if head:
        nodes.append(helper.make_node("Sub", [last, "grey"], ["centred"], name=f"{name}Sub" if name else ""))
        nodes.append(helper.make_node("Mul", ["centred", "scale"], ["ready"], name=f"{name}Mul" if name else ""))
        last = "ready"
    nodes += [
        helper.make_node("AveragePool", [last], ["quarters"], kernel_shape=[56, 56], strides=[56, 56]),
        helper.make_node("Flatten", ["quarters"], ["1333"]),
    ]
    constants = {"grey": np.float32(127.5), "scale": np.float32(1 / 127.5)} if head else {}
    given = [helper.make_tensor_value_info("data", FLOAT, ["None", 3, 112, 112])]
    return save(path, nodes, given, [helper.make_tensor_value_info("1333", FLOAT, [1, 12])], constants)


def text_detector(path: Path, *, channel: int | None = None) -> Path:
    """A DB detector whose map is the largest of B, G, R in [0, 1], or one of them, if normalised as published."""
    constants = {
        "deviation": np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 3, 1, 1),
        "mean": np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 3, 1, 1),
    }
    nodes = [
        helper.make_node("Mul", ["x", "deviation"], ["scaled"]),
        helper.make_node("Add", ["scaled", "mean"], ["colours"]),
        helper.make_node("Gather", ["colours", "channels"], ["seen"], axis=1),
        helper.make_node("ReduceMax", ["seen"], ["sigmoid_0.tmp_0"], axes=[1], keepdims=1),
    ]
    constants["channels"] = np.array([0, 1, 2] if channel is None else [channel], np.int64)
    given = [helper.make_tensor_value_info("x", FLOAT, [1, 3, "h", "w"])]
    return save(
        path, nodes, given, [helper.make_tensor_value_info("sigmoid_0.tmp_0", FLOAT, [1, 1, "h", "w"])], constants
    )


def text_recogniser(path: Path, *, classes: int = 4, softmax: bool = True, characters: str | None = None) -> Path:
    """A CTC recogniser that reads colours: red is class 1, green 2, blue 3, anything dark the blank; a step is 8 px."""
    weights = np.zeros((classes, 3, 1, 1), np.float32)
    weights[:4, :, 0, 0] = [(-9, -9, -9), (-9, -9, 9), (-9, 9, -9), (9, -9, -9)]  # the input is B, G, R
    nodes = [
        helper.make_node("MaxPool", ["x"], ["strip"], kernel_shape=[48, 8], strides=[48, 8]),
        helper.make_node("Conv", ["strip", "weights"], ["logits"]),
        helper.make_node(
            "Softmax" if softmax else "Identity", ["logits"], ["chances"], **({"axis": 1} if softmax else {})
        ),
        helper.make_node("Squeeze", ["chances", "second"], ["steps"]),
        helper.make_node("Transpose", ["steps"], ["softmax_11.tmp_0"], perm=[0, 2, 1]),
    ]
    given = [helper.make_tensor_value_info("x", FLOAT, [1, 3, 48, "w"])]
    outputs = [helper.make_tensor_value_info("softmax_11.tmp_0", FLOAT, [1, "t", classes])]
    save(path, nodes, given, outputs, {"weights": weights, "second": np.array([2], np.int64)})
    if characters is not None:
        model = onnx.load(path)
        entry = model.metadata_props.add()
        entry.key, entry.value = "character", characters
        onnx.save(model, path)
    return path
