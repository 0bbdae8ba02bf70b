"""ONNX files: opened on the CPU for a fixed number of threads, and their first nodes without the onnx package."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recast.errors import ConfigError, MissingWeights, WeightsError

GRAPH, NODE, NODE_NAME, NODE_TYPE = 7, 1, 3, 4  # field numbers of onnx.proto3: ModelProto, GraphProto, NodeProto


def open_session(path: Path, *, threads: int = 1) -> Any:
    """An ONNX Runtime session on the CPU, of `threads` threads: sums are added in the same order in every run.

    Raises ConfigError without onnxruntime, MissingWeights without the file, WeightsError if it is not a model.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f"{path.name}: needs the package onnxruntime; pip install onnxruntime") from error
    if not path.is_file():
        raise MissingWeights(f"model={str(path)!r}: no such file; an ONNX file accepted; check the path")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors share no base class of its own
        why = str(error).splitlines()[0]
        raise WeightsError(f"model={str(path)!r}: {why}; an ONNX model accepted; get the file again") from error


def describe_runtime(*, threads: int) -> dict[str, Any]:
    """What of the runtime decides the last digits: its version, the provider, the threads."""
    import onnxruntime

    return {"onnxruntime": onnxruntime.__version__, "provider": "CPUExecutionProvider", "threads": threads}


def first_nodes(path: Path, count: int) -> list[tuple[str, str]]:
    """(name, operator) of the first nodes of a model's graph, read from the file itself; few bytes are touched.

    Raises WeightsError if the file is no ONNX model. Source: onnx.proto3 and the protobuf wire format.
    """
    nodes: list[tuple[str, str]] = []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            graph = next((begin, end) for field, begin, end in _fields(data, 0, len(data)) if field == GRAPH)
            for field, begin, end in _fields(data, *graph):
                if field == NODE and len(nodes) < count:
                    parts = {
                        key: data[at:to].decode()
                        for key, at, to in _fields(data, begin, end)
                        if key in (NODE_NAME, NODE_TYPE)
                    }
                    nodes.append((parts.get(NODE_NAME, ""), parts.get(NODE_TYPE, "")))
                if len(nodes) == count:
                    break
        except (IndexError, ValueError, StopIteration) as error:
            raise WeightsError(f"model={str(path)!r}: not an ONNX file; get it again") from error
    return nodes


def _fields(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(field number, start, end) of every field of one protobuf message in data[at:end]."""
    while at < end:
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            start, (_, at) = at, _varint(data, at)
        elif kind == 2:
            length, start = _varint(data, at)
            at = start + length
        elif kind in (1, 5):
            start, at = at, at + (8 if kind == 1 else 4)
        else:
            raise ValueError(f"wire type {kind}")
        if at > end:
            raise ValueError("a field reaches beyond its message")
        yield key >> 3, start, at


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    """A base-128 number and the place behind it."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
