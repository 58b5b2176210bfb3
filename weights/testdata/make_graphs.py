"""Writes the graphs of the test bundles beside it: networks of a few bytes, and the mistakes a network's file can have.

Each graph that is whole runs in onnxruntime: out_sample = sample / 2 + timestep / 1000 + label / 10. Needs onnx 1.23.
"""

from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, checker, external_data_helper, helper, numpy_helper

HERE = Path(__file__).parent
FLOAT, FLOAT16, DOUBLE = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE
INT32, INT64 = TensorProto.INT32, TensorProto.INT64
IMAGE, ROWS = ["B", 1, "H", "W"], ["B"]


def network(sample=("sample", FLOAT, IMAGE), timestep=("timestep", FLOAT, ROWS), label=("class_labels", INT64, ROWS),
            output=("out_sample", FLOAT, IMAGE), more_inputs=(), more_outputs=(), weights_are_inputs=False,
            learned_variance=False) -> ModelProto:
    """A network with these inputs and outputs, each a name, an element type and a shape; None leaves one out.

    With a learned variance the output has its channels twice, as if they said as much of the variance.
    """
    weights = {"per_row": np.array([-1, 1, 1, 1])}
    nodes, terms = [], []
    for value, scale in ((sample, 0.5), (timestep, 1e-3), (label, 0.1)):
        if value is None:
            continue
        name = value[0]
        weights[f"{name}_scale"] = np.array([scale], np.float32)
        nodes.append(helper.make_node("Cast", [name], [f"{name}_float"], to=FLOAT))
        if value is not sample:
            nodes.append(helper.make_node("Reshape", [f"{name}_float", "per_row"], [f"{name}_rows"]))
        last = f"{name}_float" if value is sample else f"{name}_rows"
        nodes.append(helper.make_node("Mul", [last, f"{name}_scale"], [f"{name}_term"]))
        terms.append(f"{name}_term")
    outputs = [helper.make_tensor_value_info(*value) for value in (output, *more_outputs)]
    nodes.append(helper.make_node("Sum", terms, ["total"]))
    last = "total"
    if learned_variance:
        nodes.append(helper.make_node("Concat", [last, last], ["twice"], axis=1))
        last = "twice"
    nodes += [helper.make_node("Cast", [last], [value[0]], to=value[1]) for value in (output, *more_outputs)]
    given = [value for value in (sample, timestep, label, *more_inputs) if value is not None]
    inputs = [helper.make_tensor_value_info(*value) for value in given]
    initializers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    if weights_are_inputs:
        inputs += [helper.make_tensor_value_info(w.name, w.data_type, w.dims) for w in initializers]
    graph = helper.make_graph(nodes, "network", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="make_graphs", ir_version=8)


def external(location="model.onnx.data", **changes) -> tuple[ModelProto, bytes]:
    """The network with its scales in another file, and that file's bytes. Changes replace what the last tensor says."""
    model, data = network(), b""
    for tensor in model.graph.initializer:
        if tensor.data_type != FLOAT:  # onnxruntime wants shapes in the graph itself
            continue
        raw = tensor.raw_data
        external_data_helper.set_external_data(tensor, location, len(data), len(raw))
        tensor.ClearField("raw_data")
        data += raw
    for entry in model.graph.initializer[-1].external_data:
        entry.value = changes.get(entry.key, entry.value)
    return model, data


def write(folder: str, content: bytes | ModelProto, name="model.onnx") -> None:
    path = HERE / folder / "unet" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString(deterministic=True))


def good() -> None:
    variants = {
        "good": network(),
        "variants/unconditional": network(label=None),
        "variants/other-names": network(("x", FLOAT, IMAGE), ("t", INT64, ROWS), ("y", INT64, ROWS), ("eps", FLOAT, IMAGE)),
        "variants/scalar-timestep": network(timestep=("t", INT64, []), label=None),
        "variants/only-integer": network(label=("condition", INT64, ROWS)),
        "variants/fixed": network(("sample", FLOAT, [2, 1, 8, 8]), ("timestep", FLOAT, [2]), ("class_labels", INT64, [2]),
                                  ("out_sample", FLOAT, [2, 1, 8, 8])),
        "variants/weights-as-inputs": network(weights_are_inputs=True),
        "variants/learned-variance": network(output=("out_sample", FLOAT, ["B", 2, "H", "W"]), learned_variance=True),
        "variants/oblong": network(("sample", FLOAT, ["B", 3, 8, 16]), label=None, output=("out_sample", FLOAT, ["B", 3, 8, 16])),
    }
    for folder, model in variants.items():
        checker.check_model(model, full_check=True)
        write(folder, model)
    model, data = external()
    write("variants/external-data", model)
    write("variants/external-data", data, "model.onnx.data")


def bad() -> None:
    whole = network().SerializeToString(deterministic=True)
    contents = {
        "empty": b"",
        "lfs-pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 3291311\n",
        "html": b"<!doctype html>\n<title>404</title>\n",
        "text": b"The network is too large for this repository.\n",
        "truncated": whole[:200],
        "no-graph": ModelProto(ir_version=8, producer_name="make_graphs").SerializeToString(),
        "nameless-input": network(sample=("", FLOAT, IMAGE)),
        "no-sample": network(sample=("sample", FLOAT, ["B", "N", 1])),
        "no-shape": network(sample=("sample", FLOAT, None)),
        "two-samples": network(more_inputs=[("image", FLOAT, IMAGE)]),
        "no-timestep": network(timestep=None),
        "text-condition": network(more_inputs=[("encoder_hidden_states", FLOAT, ["B", 77, 768])], label=None),
        "four-inputs": network(more_inputs=[("aesthetic_score", FLOAT, ROWS)]),
        "two-integers": network(timestep=("a", INT64, ROWS), label=("b", INT64, ROWS)),
        "two-labels": network(timestep=("class_a", INT64, ROWS), label=("class_b", INT64, ROWS)),
        "sample-type": network(sample=("sample", FLOAT16, IMAGE)),
        "timestep-type": network(timestep=("timestep", INT32, ROWS)),
        "label-type": network(label=("class_labels", INT32, ROWS)),
        "no-label": network(label=None),
        "scalar-label": network(label=("class_labels", INT64, [])),
        "channels": network(sample=("sample", FLOAT, ["B", 3, "H", "W"])),
        "size": network(sample=("sample", FLOAT, ["B", 1, 16, 16])),
        "no-rows": network(sample=("sample", FLOAT, [0, 1, "H", "W"])),
        "output-channels": network(output=("out_sample", FLOAT, ["B", 2, "H", "W"])),
        "output-type": network(output=("out_sample", DOUBLE, IMAGE)),
        "two-outputs": network(more_outputs=[("variance", FLOAT, IMAGE)]),
        "data-missing": external()[0],
        "data-short": external()[0],
        "data-outside": external(location="../model.onnx.data")[0],
        "data-length": external(length="3")[0],
        "data-offset": external(offset="-4")[0],
    }
    for mistake, content in contents.items():
        write(f"bad/graph-{mistake}", content)
    write("bad/graph-data-short", external()[1][:-1], "model.onnx.data")


if __name__ == "__main__":
    good()
    bad()
