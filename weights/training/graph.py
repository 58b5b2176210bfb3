"""From a PyTorch network to an ONNX graph that is known to compute the same, for export.py.

The graph's inputs are sample [B, C, H, W] float32, timestep [B] float32 and, for a conditional network, class_labels
[B] int64; its output is out_sample.
"""

import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnx
import onnxruntime
import torch
from torch.export import Dim

NAMES = ["sample", "timestep", "class_labels"]
# PyTorch's exporter is written in opset 18, so nothing is converted, and any onnxruntime since 1.14 runs it.
OPSET = 18
TOLERANCE = 1e-4
BATCHES = (1, 2, 5)
# A protobuf message cannot pass 2 GiB; what is left over holds the graph itself.
WEIGHTS_IN_GRAPH = 2**31 - 2**24


class ExportError(Exception):
    """A network that cannot be exported, or whose graph computes something else."""


class Network(torch.nn.Module):
    """Gives any network the graph's signature: rows in, the predicted tensor alone out."""

    def __init__(self, inner: torch.nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, sample, timestep, class_labels=None):
        labels = () if class_labels is None else (class_labels,)
        out = self.inner(sample, timestep, *labels)
        if isinstance(out, torch.Tensor):
            return out
        return out.sample if hasattr(out, "sample") else out[0]


@dataclass
class Signature:
    """What a network takes: channels, the size it was trained at, its classes (0: unconditional), its timesteps."""

    channels: int
    height: int
    width: int
    classes: int
    timesteps: int

    def inputs(self, batch: int, grow: int = 0) -> tuple[torch.Tensor, ...]:
        """Random rows, each with its own fractional timestep. Growing makes height and width differ too."""
        generator = torch.Generator().manual_seed(batch)
        shape = (batch, self.channels, self.height + grow, self.width + 2 * grow)
        sample = torch.randn(shape, generator=generator)
        timestep = torch.rand(batch, generator=generator) * (self.timesteps - 1)
        if not self.classes:
            return sample, timestep
        return sample, timestep, torch.randint(self.classes, (batch,), generator=generator)


def refuse_unless_runs(network: Network, signature: Signature) -> None:
    """One run in PyTorch, so that a network that wants other inputs is refused with its own words."""
    inputs = signature.inputs(2)
    try:
        shape = network(*inputs).shape
    except Exception as error:
        raise ExportError(f"the network does not run on {', '.join(NAMES[: len(inputs)])}: {error}") from error
    wanted = inputs[0].shape
    if len(shape) != 4 or (shape[0], *shape[2:]) != (wanted[0], *wanted[2:]):
        raise ExportError(f"the network turns {tuple(wanted)} into {tuple(shape)}")


def size_step(network: Network, signature: Signature) -> int:
    """The smallest power of two that height and width can grow by; 0 where the network takes one size only."""
    step = 1
    while signature.height % step == 0 and signature.width % step == 0:
        inputs = signature.inputs(1, step)
        try:
            if network(*inputs).shape[2:] == inputs[0].shape[2:]:
                return step
        except Exception:  # A network may refuse a size in any way it likes.
            pass
        step *= 2
    return 0


def write(network: Network, signature: Signature, step: int, path: Path) -> onnx.ModelProto:
    """Exports with a free batch, and with free height and width in multiples of step unless it is 0."""
    inputs = signature.inputs(3, step)
    batch = Dim("batch")
    free = {0: batch, 2: step * Dim("height"), 3: step * Dim("width")} if step else {0: batch}
    shapes = (free, *({0: batch} for _ in inputs[1:]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            program = torch.onnx.export(
                network,
                inputs,
                dynamo=True,
                opset_version=OPSET,
                input_names=NAMES[: len(inputs)],
                output_names=["out_sample"],
                dynamic_shapes=shapes,
                verbose=False,
            )
        finally:
            logging.disable(logging.NOTSET)
    model = program.model_proto
    forget_origins(model)
    size = sum(p.nbytes for p in network.state_dict().values())
    onnx.save_model(model, path, save_as_external_data=size > WEIGHTS_IN_GRAPH, location=path.name + ".data")
    onnx.checker.check_model(path)
    return model


def forget_origins(model: onnx.ModelProto) -> None:
    """Drops the notes that the exporter leaves on every node: stack traces, with the paths of this machine."""
    graph = model.graph
    for noted in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del noted.metadata_props[:]
        noted.doc_string = ""
    del graph.value_info[:]


def session(path: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(graph: onnxruntime.InferenceSession, inputs: tuple[torch.Tensor, ...]) -> np.ndarray:
    return graph.run(None, {name: tensor.numpy() for name, tensor in zip(NAMES, inputs)})[0]


def compare(network: Network, signature: Signature, step: int, path: Path) -> float:
    """The largest difference between ONNX and PyTorch, over the batches and, where sizes are free, another size."""
    graph = session(path)
    worst = 0.0
    for batch, grow in [(batch, 0) for batch in BATCHES] + ([(2, step)] if step else []):
        inputs = signature.inputs(batch, grow)
        with torch.no_grad():
            expected = network(*inputs).numpy()
        got = run(graph, inputs)
        if got.shape != expected.shape:
            raise ExportError(f"batch {batch}: ONNX gives the shape {got.shape}, PyTorch {expected.shape}")
        difference = float(np.abs(got - expected).max())
        if not difference <= TOLERANCE:  # Written so that a NaN fails too.
            raise ExportError(f"batch {batch}: ONNX and PyTorch differ by {difference:.2g}, more than {TOLERANCE:g}")
        worst = max(worst, difference)
    return worst


def export(network: Network, signature: Signature, path: Path) -> None:
    """Writes the graph with free sizes if that holds, else with fixed ones, and prints what was found."""
    with torch.no_grad():
        refuse_unless_runs(network, signature)
        step = size_step(network, signature)
        fixed = "" if step else "the network takes no other"
        if step:
            try:
                model, worst = write(network, signature, step, path), compare(network, signature, step, path)
            except (ExportError, torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
                step, fixed = 0, str(error).strip().splitlines()[0]
        if not step:
            model, worst = write(network, signature, 0, path), compare(network, signature, 0, path)
    megabytes = sum(file.stat().st_size for file in path.parent.glob(path.name + "*")) / 1e6
    opset = model.opset_import[0].version
    print(f"graph: opset {opset}, IR version {model.ir_version}, {len(model.graph.node)} nodes, {megabytes:.1f} MB")
    size = f"fixed: {fixed}" if fixed else f"free in steps of {step}"
    print(f"size: {signature.height}x{signature.width}, {size}")
    print(f"ONNX and PyTorch differ by at most {worst:.2g} at batch {', '.join(map(str, BATCHES))}")
    print(row_bits(signature, path))


def row_bits(signature: Signature, path: Path) -> str:
    """Whether row 0 comes out with the same bits whatever batch it rides in and however many threads there are."""
    inputs = signature.inputs(8)
    rows = {}
    for threads in (1, 2):
        graph = session(path, threads)
        for batch in (1, 2, 5, 8):
            rows[f"batch {batch} on {threads} threads"] = run(graph, tuple(x[:batch] for x in inputs))[0]
    alone = rows["batch 1 on 1 threads"]
    apart = {name: np.abs(row - alone).max() for name, row in rows.items() if not np.array_equal(row, alone)}
    if apart:
        listed = ", ".join(f"{name} ({difference:.1g})" for name, difference in apart.items())
        return f"row 0 has other bits than alone on one thread at {listed}"
    return "row 0 has the same bits at batch 1, 2, 5, 8 on 1 and 2 threads"
