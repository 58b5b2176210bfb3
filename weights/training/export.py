"""Exports a diffusers UNet2DModel folder, or any other torch module, to ONNX and writes it as a bundle.

The bundle has the diffusers layout with unet/model.onnx in it, and denoised serves it as it is. Nothing is written
unless ONNX and PyTorch agree within 1e-4.
"""

import argparse
import importlib
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import UNet2DModel
from safetensors.torch import load_file, save_model

import graph

WEIGHTS = "diffusion_pytorch_model.safetensors"
DEFAULTS = {"sampler": str, "steps": int, "guidance_scale": float, "guidance_rescale": float}


@dataclass
class Source:
    """A network with its unet/config.json and, where the folder had the weights as one safetensors file, that file."""

    module: torch.nn.Module
    config: dict
    weights: Path | None = None


def find(folder: Path | None, part: str, name: str) -> Path:
    """A file of a diffusers folder: in its part, or beside model_index.json as older repositories have it."""
    if folder is None:
        raise graph.ExportError(f"no {name}: give FOLDER or --scheduler")
    for path in (folder / part / name, folder / name):
        if path.is_file():
            return path
    raise graph.ExportError(f"{folder / part / name} is missing")


def load_folder(folder: Path | None) -> Source:
    path = find(folder, "unet", "config.json")
    config = json.loads(path.read_text())
    if config.get("_class_name") != "UNet2DModel":
        raise graph.ExportError(f"{path}: _class_name is {config.get('_class_name')}, not UNet2DModel; use --module")
    if config.get("class_embed_type") == "identity":
        raise graph.ExportError(f"{path}: class_embed_type identity takes embeddings, not labels")
    weights = path.with_name(WEIGHTS)
    return Source(UNet2DModel.from_pretrained(path.parent), config, weights if weights.is_file() else None)


def load_module(args: argparse.Namespace) -> Source:
    package, _, name = args.module.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    module = getattr(importlib.import_module(package), name)(**args.module_config)
    if not args.state_dict.is_file():
        raise graph.ExportError(f"{args.state_dict} is missing")
    if args.state_dict.suffix == ".safetensors":
        module.load_state_dict(load_file(args.state_dict))
    else:
        module.load_state_dict(torch.load(args.state_dict, map_location="cpu", weights_only=True))
    return Source(module, {"_class_name": name, **args.module_config})


def signature(config: dict, scheduler: dict, args: argparse.Namespace) -> graph.Signature:
    """From unet/config.json, where the flags do not say otherwise; completes the config with what the flags say."""
    if args.channels:
        config["in_channels"] = args.channels
    if args.size:
        config["sample_size"] = args.size[0] if args.size[0] == args.size[1] else args.size
    if args.classes:
        config["num_class_embeds"] = args.classes
    if not config.get("in_channels"):
        raise graph.ExportError("the number of channels is unknown: give --channels")
    if not config.get("sample_size"):
        raise graph.ExportError("the size is unknown: give --size")
    if config.get("class_embed_type") and not config.get("num_class_embeds"):
        raise graph.ExportError("the number of classes is unknown: give --classes")
    size = config["sample_size"]
    height, width = (size, size) if isinstance(size, int) else size
    timesteps = scheduler.get("num_train_timesteps", 1000)
    return graph.Signature(config["in_channels"], height, width, config.get("num_class_embeds") or 0, timesteps)


def model_index(source: Source, scheduler: dict, takes: graph.Signature, args: argparse.Namespace) -> dict:
    """The folder's own model_index.json, or a new one, with what the flags add."""
    path = args.folder and args.folder / "model_index.json"
    if path and path.is_file():
        index = json.loads(path.read_text())
    else:
        index = {
            "_class_name": "DDPMPipeline",
            "unet": ["diffusers", source.config["_class_name"]],
            "scheduler": ["diffusers", scheduler.get("_class_name", "DDPMScheduler")],
        }
    if args.module:
        index["unet"] = args.module.split(":")
    if args.labels:
        index["id2label"] = {str(i): label for i, label in enumerate(args.labels)}
    own = index.get("denoised", {})
    if args.null_label is not None:
        own["null_label"] = args.null_label
    if args.default:
        own["defaults"] = {**own.get("defaults", {}), **dict(args.default)}
    numbers = [int(i) for i in index.get("id2label", {})] + ([own["null_label"]] if "null_label" in own else [])
    for number in numbers:
        if not 0 <= number < takes.classes:
            raise graph.ExportError(f"a class {number} is named, but the network has {takes.classes or 'no'} classes")
    return {**index, "denoised": own} if own else index


def write_bundle(source: Source, index: dict, scheduler: Path, exported: Path, out: Path) -> None:
    """Copies what the folder has, unless it is the bundle itself, and adds the graph."""
    for part in ("unet", "scheduler"):
        (out / part).mkdir(parents=True, exist_ok=True)
    for file in exported.iterdir():
        shutil.copyfile(file, out / "unet" / file.name)
    if source.weights is None:
        save_model(source.module, out / "unet" / WEIGHTS)
    else:
        copy(source.weights, out / "unet" / WEIGHTS)
    copy(scheduler, out / "scheduler" / "scheduler_config.json")
    write_json(source.config, out / "unet" / "config.json")
    write_json(index, out / "model_index.json")


def copy(path: Path, target: Path) -> None:
    if path.resolve() != target.resolve():
        shutil.copyfile(path, target)


def write_json(value: dict, path: Path) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def default(text: str) -> tuple[str, object]:
    key, _, value = text.partition("=")
    if key not in DEFAULTS:
        raise argparse.ArgumentTypeError(f"{key} is not one of {', '.join(DEFAULTS)}")
    return key, DEFAULTS[key](value)


def export(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    source = load_module(args) if args.module else load_folder(args.folder)
    scheduler_path = args.scheduler or find(args.folder, "scheduler", "scheduler_config.json")
    scheduler = json.loads(scheduler_path.read_text())
    takes = signature(source.config, scheduler, args)
    index = model_index(source, scheduler, takes, args)
    network = graph.Network(source.module.float().eval())
    with tempfile.TemporaryDirectory() as exported:
        graph.export(network, takes, Path(exported) / "model.onnx")
        with torch.no_grad():
            source.config.setdefault("out_channels", network(*takes.inputs(1)).shape[1])
        write_bundle(source, index, scheduler_path, Path(exported), args.out)
    print(f"wrote {args.out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    flag = parser.add_argument
    flag("folder", type=Path, nargs="?", help="diffusers folder; optional with --module and --scheduler")
    flag("out", type=Path, help="bundle to write; may be the folder itself")
    flag("--module", metavar="PACKAGE.MODULE:CLASS", help="a torch module, called as (sample, timestep[, class_labels])")
    flag("--module-config", type=json.loads, default={}, metavar="JSON", help="its constructor's arguments, an object")
    flag("--state-dict", type=Path, metavar="FILE", help="its weights, .safetensors or torch.save's")
    flag("--scheduler", type=Path, metavar="FILE", help="scheduler_config.json to use instead of the folder's")
    flag("--channels", type=int, help="channels, where unet/config.json does not say")
    flag("--size", type=int, nargs=2, metavar=("H", "W"), help="height and width, where it does not say")
    flag("--classes", type=int, metavar="N", help="classes, a null label included, where it does not say")
    flag("--labels", type=lambda text: text.split(","), help="names of the classes, from 0 on: 0,1,2")
    flag("--null-label", type=int, metavar="N", help="the class that stands for no label")
    keys = ", ".join(DEFAULTS)
    flag("--default", type=default, action="append", metavar="KEY=VALUE", help=f"one of the defaults: {keys}")
    args = parser.parse_args()
    if args.module and not args.state_dict:
        parser.error("--module needs --state-dict")
    try:
        export(args)
    except graph.ExportError as error:
        sys.exit(f"export.py: {error}")


if __name__ == "__main__":
    main()
