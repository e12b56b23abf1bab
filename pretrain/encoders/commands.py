"""`fovea hub export` and `adopt`, which load weights; torch is imported when they do."""

from __future__ import annotations

from pathlib import Path

from fovea.command import parser, positive
from fovea.pretrain.hub import REF


def export(arguments: list[str]) -> None:
    asked = parser(
        "fovea hub export",
        "Write an encoder in a form that needs neither Fovea nor torch. ONNX (extra `onnx`): takes "
        "uint8 screens\n(batch, stack, H, W) of any batch size, gives summary and tokens; what "
        "onnxruntime computes of it is compared\nbefore the file is kept.",
    )
    asked.add_argument("encoder", help=REF)
    asked.add_argument("--onnx", type=Path, required=True, metavar="FILE", help="file to write")
    given = asked.parse_args(arguments)
    from fovea.pretrain.encoders.to_onnx import write_onnx

    largest = write_onnx(given.encoder, given.onnx)
    print(f"{given.onnx}: checked in onnxruntime, largest difference {largest:.1e}")


def adopt(arguments: list[str]) -> None:
    asked = parser(
        "fovea hub adopt",
        "Make a verified encoder folder of one that timm saved (timm.models.save_for_hf with "
        "safe_serialization=True),\nsuch as after fine-tuning an encoder elsewhere. A classifier "
        "is left out.",
    )
    asked.add_argument("source", type=Path, help="folder with config.json and model.safetensors")
    asked.add_argument("--out", type=Path, required=True, help="encoder folder to write")
    asked.add_argument(
        "--screen",
        type=positive,
        help="side of the square screens in pixels, where they are larger than the model's input, "
        "which is then their middle",
    )
    asked.add_argument(
        "--ignore-normalization",
        action="store_true",
        help="the model saw pixels in [0, 1], whatever mean and std its config names",
    )
    given = asked.parse_args(arguments)
    from fovea.pretrain.encoders.adopt import adopt_timm

    folder = adopt_timm(given.source, given.out, given.screen, given.ignore_normalization)
    print(f"encoder: {folder}")
