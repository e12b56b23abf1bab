"""The parser of every `fit`: Lightning's, with configs by name and loggers of the run."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from itertools import islice
from pydoc import locate as imported
from typing import cast

from jsonargparse import ActionConfigFile, ArgumentParser, Namespace
from lightning.pytorch.cli import LightningArgumentParser

from fovea.configs import locate
from fovea.foreign import load_yaml, read_text

HELP = {
    "seed_everything": "seed of every draw: initial weights, order of the data, games",
    "trainer.logger": "a logger beside the run's own metrics.csv, or a list of them, such as "
    "TensorBoardLogger or WandbLogger; one that must be told a save_dir writes into the run folder "
    "unless told otherwise. true, false or null: metrics.csv alone",
    "trainer.callbacks": "callbacks beside the run's own; one of a class that the run has too "
    "takes its place",
    "trainer.plugins": "plugins beside the run's own, which writes the checkpoints",
}
"""What settings of Lightning's mean here."""


def configs_first(words: Sequence[str]) -> list[str]:
    """The words of a command with its configs in front, so that settings hold wherever they stand.

    A parser reads from left to right, and a config that came later would undo them.
    """
    configs: list[str] = []
    others: list[str] = []
    waiting = iter(words)
    for word in waiting:
        if word in ("-c", "--config"):
            configs += [word, *islice(waiting, 1)]
        else:
            (configs if word.startswith("--config=") else others).append(word)
    return configs + others


def as_typed(words: Sequence[str]) -> list[str]:
    """The words of a command in the order in which a parser is to read them.

    `--print_config` prints what holds where it stands: last, that is all.
    """
    return sorted(configs_first(words), key=lambda word: word.startswith("--print_config"))


class NamedConfig(ActionConfigFile):
    """`-c`: the path of a config, or the name of one that a room ships.

    Args:
        room: the package that ships them, such as "fovea.pretrain".
        kwargs: of the action.
    """

    def __init__(self, room: str, **kwargs):
        name = room.replace(".", " ")
        kwargs["help"] = f"a config: a path, or a name that `{name} configs` lists; repeatable, "
        kwargs["help"] += "the last one given wins"
        super().__init__(**kwargs)
        self.room = room

    def __call__(self, parser, cfg, values, option_string=None) -> None:
        path = locate(values, self.room)
        load_yaml(read_text(path), path)  # here, where no alias is written out
        super().__call__(parser, cfg, str(path), option_string)


class WholeNames:
    """A parser that takes no beginning of a setting's name for the name.

    Nor do the parsers that jsonargparse makes, of the same class, for classes that settings name.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{"allow_abbrev": False} | kwargs)


class SettingsParser(WholeNames, ArgumentParser):
    """The parser of a command whose settings are classes, but which trains no single model."""


class FitParser(WholeNames, LightningArgumentParser):
    """Lightning's parser; a logger that needs a `save_dir` writes into the run folder."""

    def add_lightning_class_args(self, lightning_class, nested_key, *args, **kwargs) -> list[str]:
        added = super().add_lightning_class_args(lightning_class, nested_key, *args, **kwargs)
        for action in self._actions:
            action.help = HELP.get(action.dest, action.help)
        return added

    def validate(self, namespace: Namespace, *args, **kwargs) -> None:
        loggers = namespace.get("trainer.logger")
        for logger in loggers if isinstance(loggers, list) else [loggers]:
            if isinstance(logger, Namespace):
                made_by = cast(type, imported(logger.class_path))
                save_dir = inspect.signature(made_by).parameters.get("save_dir")
                needed = save_dir and save_dir.default is inspect.Parameter.empty
                if needed and logger.get("init_args.save_dir") is None:
                    logger["init_args.save_dir"] = namespace.get("run")
        super().validate(namespace, *args, **kwargs)
