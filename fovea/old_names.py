"""What version 0.1 called things, so that its run folders go on loading.

Everything that reads a config.yaml or a checkpoint of a run folder reads it here. This is the
place that knows the names of 0.1 (`fovea.schema` knows one key of run.json); nothing here is a
second spelling of a setting in a new config.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fovea.foreign import load_yaml, read_text
from fovea.runs import read_run

OLD = (
    "was begun by version 0.1, whose random draws were others, so that it cannot go on: end it "
    "with that version, or begin another --run"
)
"""What is said of a run that would go on, after its folder."""

ROOMS = ("pretrain", "agents")
"""Whose classes a config names; 0.1 had them at the top: pretrain.vicreg.VICReg."""

WINDOWS = {"batch": "batch_size"}
"""{setting of a pretraining's data in 0.1: today}."""

TASK = {"steps": "total_steps", "envs": "num_envs"}
"""{setting of an agent's game in 0.1: today}."""

SEQUENCE = {"play": "task", "steps": "steps_per_game"}
"""{setting of a sequence of games in 0.1: today}."""

AGENT = {
    "anneal": "anneal_lr",
    "batch": "batch_size",
    "clip": "clip_coef",
    "clip_value": "clip_vloss",
    "conservative": "cql_alpha",
    "consistency": "consistency_coef",
    "corruptions": "augmentations",
    "double": "double_q",
    "entropy_weight": "ent_coef",
    "epochs": "update_epochs",
    "importance": "per_beta",
    "lam": "gae_lambda",
    "minibatches": "num_minibatches",
    "only_better": "positive_advantage_only",
    "priority": "per_alpha",
    "replay": "buffer_size",
    "replay_mapped": "buffer_on_disk",
    "rollout": "num_steps",
    "steps_per_update": "train_freq",
    "target_every": "target_update_interval",
    "target_share": "tau",
    "value_weight": "vf_coef",
    "values": "value_head",
    "warmup": "learning_starts",
}
"""{setting of an agent in 0.1: today}."""

PREDICTED = "steps"
"""Setting of SPR and Recipe: how many of the next steps are predicted in 0.1, today which."""

NEWER = {"Recipe": {"inverse_weight": 0.0, "last_momentum": None}}
"""{objective: settings that came after 0.1, at what they then meant}."""

UNUSED = {
    "CalQL": {
        *("replay", "replay_mapped", "warmup", "steps_per_update", "priority", "importance"),
        *("epsilon_initial", "epsilon_final", "epsilon_spread", "epsilon_steps"),
    },
    "Cloned": {
        *("clip", "clip_value", "entropy_weight", "lam", "rollout", "epochs", "minibatches"),
        *("corruptions", "consistency", "only_better"),
    },
}
"""{agent: settings that it took in 0.1 and never used}."""

READ_OUT = {"features": "kind", "token_width": "projection_dim", "standardise": "norm_samples"}
"""{setting of an agent in 0.1: today, of its `features`}."""

FEATURES = {
    "summary": "cls",
    "tokens_mean": "mean",
    "summary_and_mean": "cls_and_mean",
    "tokens": "projected_tokens",
    "flat": "tokens",
}
"""{value of an agent's `features` in 0.1: today}."""

WEIGHTS = (
    (re.compile(r"^(eyes|target\.0)\.standard\."), r"\1.norm."),
    (re.compile(r"^(eyes|target\.0)\.shrink\."), r"\1.projection."),
    (re.compile(r"^eyes\."), "extractor."),
)
"""What became of the names of an agent's weights, in this order."""

STATES = {"Play": "AtariTask"}
"""{key of a checkpoint in 0.1: today}."""


def is_old(folder: Path) -> bool:
    """Whether a run folder was made by version 0.1."""
    record = read_run(folder)
    return record is not None and record.versions.get("fovea-rl", "").startswith("0.1.")


def read_config(folder: Path) -> dict[str, Any]:
    """config.yaml of a run folder, in the names of today.

    Raises UserError where it is no YAML.
    """
    path = folder / "config.yaml"
    config = load_yaml(read_text(path), path)
    return renamed_config(config) if is_old(folder) else config


def renamed_config(found: Mapping[str, Any]) -> dict[str, Any]:
    """A config of 0.1 in the names of today; what it does not say is left unsaid."""
    config: dict[str, Any] = _public_paths(found)
    if "games" in config:
        return _sequence(config)
    if "game" in config["data"]:
        config["data"] = _renamed(config["data"], TASK)
        config["model"] = _agent(config["model"])
    else:
        config["data"] = _renamed(config["data"], WINDOWS)
        config["model"] = _objective(config["model"])
    if "start" in config:
        config["init_from"] = config.pop("start")
    if config.pop("tensorboard", False):
        config["trainer"]["logger"] = {"class_path": "TensorBoardLogger"}
    return config


def _renamed(settings: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in settings.items()}


def _objective(objective: Mapping[str, Any]) -> dict[str, Any]:
    settings = dict(objective.get("init_args", {}))
    if isinstance(settings.get(PREDICTED), int):
        settings[PREDICTED] = list(range(1, settings[PREDICTED] + 1))
    newer = NEWER.get(objective["class_path"].rpartition(".")[2], {})
    return {**objective, "init_args": {**newer, **settings}}


def _agent(agent: Mapping[str, Any]) -> dict[str, Any]:
    unused = UNUSED.get(agent["class_path"].rpartition(".")[2], ())
    settings = {key: value for key, value in agent["init_args"].items() if key not in unused}
    features = {new: settings.pop(old) for old, new in READ_OUT.items() if old in settings}
    if "kind" in features:
        features["kind"] = FEATURES[features["kind"]]
    if "norm_samples" in features:  # 0 left features as they were
        features["norm"] = "standard" if features["norm_samples"] else "none"
        features["norm_samples"] = features["norm_samples"] or 2048
    settings = _renamed(settings, AGENT) | ({"features": features} if features else {})
    return {**agent, "init_args": settings}


def _sequence(config: Mapping[str, Any]) -> dict[str, Any]:
    for method in config["methods"].values():
        way = method.pop("per_game", "nothing")
        method["task_aware"] = "none" if way == "nothing" else way
    config = _renamed(config, SEQUENCE)
    return config | {"agent": _agent(config["agent"]), "task": _renamed(config["task"], TASK)}


def renamed_checkpoint(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint of 0.1 under the names of today; one of today is as it was."""
    renamed = {STATES.get(key, key): value for key, value in checkpoint.items()}
    renamed["state_dict"] = {_weight(name): w for name, w in checkpoint["state_dict"].items()}
    return renamed


def _weight(name: str) -> str:
    for old, new in WEIGHTS:
        name = old.sub(new, name)
    return name


def _public_paths(tree: Any) -> Any:
    """A config whose class paths are those that rooms give to their public classes."""
    if isinstance(tree, list):
        return [_public_paths(one) for one in tree]
    if not isinstance(tree, Mapping):
        return tree
    tree = {key: _public_paths(value) for key, value in tree.items()}
    path = str(tree.get("class_path", "")).split(".")
    if path[0] in ROOMS:
        tree["class_path"] = f"fovea.{path[0]}.{path[-1]}"
    return tree
