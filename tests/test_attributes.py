"""Nothing of ours hides what torch and Lightning give their modules, such as `double()`."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator

import lightning
from torch import nn

ROOMS = ("atari", "pretrain", "agents", "probes")
LIBRARY = (lightning.LightningModule, nn.Module, lightning.LightningDataModule)
# What subclasses are meant to define, beside hooks (`on_...`) and `configure_...`.
MEANT = {
    "forward", "train", "compile", "extra_repr", "reset_parameters", "training_step",
    "validation_step", "optimizer_step", "prepare_data", "setup", "teardown", "train_dataloader",
    "val_dataloader", "state_dict", "load_state_dict", "strict_loading", "automatic_optimization",
    "get_extra_state", "set_extra_state",
}  # fmt: skip
# stable-baselines3 draws initial weights through `apply`, which would overwrite the encoder's.
ON_PURPOSE = {"EncoderExtractor": {"apply", "_apply"}}


def modules() -> list[type]:
    """Every class of ours that is one of torch's or Lightning's."""
    for room in ROOMS:
        package = importlib.import_module(f"fovea.{room}")
        for found in pkgutil.walk_packages(package.__path__, f"fovea.{room}."):
            if not found.name.endswith("__main__"):
                importlib.import_module(found.name)
    found = {kind for base in LIBRARY for kind in descendants(base)}
    return sorted((kind for kind in found if kind.__module__.startswith("fovea.")), key=str)


def descendants(kind: type) -> Iterator[type]:
    for child in kind.__subclasses__():
        yield child
        yield from descendants(child)


def defined(kind: type) -> set[str]:
    """Names that the class defines, and attributes that its methods set on `self`."""
    names = {name for name in vars(kind) if not name.startswith("__")}
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(kind)))):
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                names.add(name)
            case ast.Call(
                func=ast.Attribute(attr="register_buffer" | "register_parameter" | "add_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                names.add(name)
    return names


def inherited(kind: type) -> set[str]:
    """Names of the classes of torch and Lightning that it is made from, and of an instance."""
    theirs = [base for base in kind.__mro__ if not base.__module__.startswith("fovea.")]
    names = {name for base in theirs if base is not object for name in vars(base)}
    plain = next(base for base in LIBRARY if base in theirs)
    return names | set(vars(plain()))


def hidden(kind: type) -> set[str]:
    """What the class hides of the library and is not meant to."""
    names = (defined(kind) & inherited(kind)) - MEANT - ON_PURPOSE.get(kind.__name__, set())
    return {name for name in names if not name.startswith(("on_", "configure_", "_abc_"))}


def test_no_attribute_hides_one_of_the_library() -> None:
    found = {f"{kind.__module__}.{kind.__name__}": hidden(kind) for kind in modules()}
    assert len(found) > 40
    assert not {kind: names for kind, names in found.items() if names}


def test_the_walk_finds_what_hides() -> None:
    class Hiding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.double = True
            self.register_buffer("half", None)

        def modules(self) -> None: ...

    assert hidden(Hiding) == {"double", "half", "modules"}
