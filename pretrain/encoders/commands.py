"""`fovea hub card`, `export` and `adopt`, which load weights; torch is imported when they do."""

from __future__ import annotations

from pathlib import Path

from fovea.command import UserError, parser, positive
from fovea.pretrain.hub import CARD, REF, locate, verify


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


CARD_ABOUT = """Print the model card of an encoder folder, or make it anew of what is known.

  fovea hub card runs/mine
  fovea hub card runs/mine --write --probes runs/probes --agents runs/dqn runs/ppo
  fovea hub card runs/mine --write --as hf-hub:ORG/NAME

How the encoder came to be is in its config.json, the objective's settings in the run folder where
it lies. A table of probes with their references, a picture of where it looks (where the probe
`attention` ran) and agents' returns come from the runs that are named; each is taken only where it
is of these very weights. Without them, a card that is made anew has no such sections."""


def card(arguments: list[str]) -> None:
    asked = parser("fovea hub card", CARD_ABOUT)
    asked.add_argument("encoder", help=REF)
    asked.add_argument(
        "--write",
        action="store_true",
        help="make the card anew, and write it, the picture and their hashes into the folder",
    )
    asked.add_argument(
        "--as",
        dest="ref",
        metavar="REF",
        help="how readers will name the encoder, such as hf-hub:ORG/NAME; default: its folder",
    )
    asked.add_argument(
        "--probes", type=Path, nargs="+", default=[], metavar="RUN", help="runs that measured it"
    )
    asked.add_argument(
        "--agents",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN",
        help="evaluated agents that play on it",
    )
    given = asked.parse_args(arguments)
    folder = locate(given.encoder)
    verify(folder)
    if given.write:
        if given.encoder.startswith(("hf-hub:", "pretrained:")):
            raise UserError(f"{given.encoder} is not yours to write: `fovea hub pull` it first")
        from fovea.pretrain.encoders.card_facts import write_card

        write_card(folder, given.ref or folder.name, given.probes, given.agents)
    elif given.ref or given.probes or given.agents:
        raise UserError("--as, --probes and --agents make a card anew: add --write")
    print((folder / CARD).read_text(encoding="utf-8"), end="")
