"""Encoders in stable-baselines3 (extra `sb3`): a features extractor for DQN, PPO and their kin.

    from stable_baselines3 import PPO
    from fovea.agents import ReadOut
    from fovea.agents.sb3 import policy_kwargs

    model = PPO("CnnPolicy", envs, policy_kwargs=policy_kwargs("runs/mine", ReadOut("tokens")))

`envs` shows uint8 stacks of the encoder's size, as `make_atari_env` and `VecFrameStack` do. What
stable-baselines3 does to a features extractor by itself, and what is done about it here:

* an actor-critic overwrites its linear and convolutional weights with orthogonal ones, silently:
  the encoder is left out of that, what is new between it and the heads is not;
* DQN builds it twice, and moves the weights of the second towards the first by
  `target.mul_(1 - tau).add_(tau * online)`, which is no identity where both are one tensor: a
  frozen encoder is one for both networks, and is among the parameters of neither;
* screens arrive as floats: they are made bytes again, exactly.

A model's file holds the encoder too: `DQN.load(file)` needs no encoder folder.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Space
from torch import Tensor, nn

from fovea.command import UserError
from fovea.pretrain.encoders.encoder import Encoder, inference
from fovea.pretrain.encoders.folder import describe, load_encoder, make_encoder
from fovea.pretrain.encoders.read_out import LEARNT, SELECTIONS, ReadOut, make_norm
from fovea.seeding import Stream, seeded

try:
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
except ImportError as fault:  # an extra
    raise ImportError(f"{fault}: pip install 'fovea-rl[sb3]'") from fault


def policy_kwargs(
    encoder: str | Path | Encoder,
    features: ReadOut = ReadOut(),
    lr_scale: float = 0.0,
    norm_screens: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """The `policy_kwargs` of a stable-baselines3 model with an encoder; add your own to them.

    Args:
        encoder: an encoder, or a reference to one, see `fovea.load_encoder`.
        features: what the heads are given of its features.
        lr_scale: its learning rate as a share of the model's; 0: it is frozen.
        norm_screens: (N, stack, H, W) uint8, oldest first, that the norm of features is fitted to;
            where `features.norm` is not `none`.
        seed: of the initial weights of what reduces features.

    Raises UserError for an encoder that cannot be loaded, and for a norm without screens.
    """
    if (features.norm != "none") != (norm_screens is not None):
        raise UserError(
            f"features.norm {features.norm} and norm_screens go together: give uint8 screens "
            "(N, stack, H, W) of some thousand moments to fit the norm to, or take norm none"
        )
    if not lr_scale >= 0:
        raise UserError(f"lr_scale {lr_scale} is below 0: 0 freezes the encoder")
    loaded = encoder if isinstance(encoder, Encoder) else load_encoder(encoder)
    given = EncoderFeatures.of(loaded, features, norm_screens)
    chosen: dict[str, Any] = {
        "features_extractor_class": EncoderExtractor,
        "features_extractor_kwargs": {"features": given, "lr_scale": lr_scale, "seed": seed},
        "normalize_images": False,
    }
    if lr_scale not in (0, 1):
        chosen["optimizer_class"] = ScaledAdam
        chosen["optimizer_kwargs"] = {"eps": 1e-5}
    return chosen


class EncoderFeatures(nn.Module):
    """An encoder and the norm of what is read of its features.

    Pickled it is what it is built from: its weights are in the file of a model by themselves.

    Args:
        config: what the encoder is built from, as in its folder's config.json.
        read_out: what is read of its features.
    """

    def __init__(self, config: dict, read_out: ReadOut):
        super().__init__()
        self.config, self.read_out = config, read_out
        self.encoder = make_encoder(config, "the saved model").eval()
        with inference(self.encoder):
            blank = torch.zeros(1, self.encoder.stack, *self.encoder.screen, dtype=torch.uint8)
            self.norm = make_norm(read_out, self.encoder.features_of(blank, self.blocks))

    @classmethod
    def of(
        cls, encoder: Encoder, read_out: ReadOut, norm_screens: np.ndarray | None
    ) -> EncoderFeatures:
        """Those of an encoder, whose weights are copied."""
        made = cls(describe(encoder, {}), read_out)
        made.encoder.load_state_dict(encoder.state_dict())
        if norm_screens is not None:
            features = made.encoder.encode_array(norm_screens, blocks=made.blocks)
            made.norm.fit(SELECTIONS[read_out.kind].select(features))
        return made

    def __reduce__(self) -> tuple:
        return EncoderFeatures, (self.config, self.read_out)

    @property
    def blocks(self) -> tuple[int, ...]:
        """The blocks of the encoder whose features are read; none named: the last."""
        return tuple(self.read_out.blocks or ())

    def forward(self, screens: Tensor) -> Tensor:
        """The selected features of screens (B, stack, H, W) uint8, normalised."""
        features = self.encoder.features_of(screens, self.blocks)
        return self.norm(SELECTIONS[self.read_out.kind].select(features))


class EncoderExtractor(BaseFeaturesExtractor):
    """What an encoder sees in screens, for the heads of a stable-baselines3 policy.

    Args:
        observation_space: of the environments: uint8 (stack, H, W).
        features: the encoder and the norm of its features.
        lr_scale: its learning rate as a share of the model's; 0: it is frozen, and one for all
            extractors that are given these.
        seed: of the initial weights of what reduces features.

    Raises UserError for observations that the encoder does not take.
    """

    def __init__(
        self,
        observation_space: Space,
        features: EncoderFeatures,
        lr_scale: float = 0.0,
        seed: int = 0,
    ):
        wanted = (features.encoder.stack, *features.encoder.screen)
        if observation_space.shape != wanted or observation_space.dtype != np.uint8:
            raise UserError(
                f"this encoder takes uint8 screens {wanted}, and the environments show "
                f"{observation_space.dtype} {observation_space.shape}: match VecFrameStack's "
                "n_stack and the screen size, or take another encoder"
            )
        frozen = not lr_scale
        blank = torch.zeros(1, *wanted, dtype=torch.uint8)
        device = next(features.parameters()).device
        with inference(features):
            selected = features(blank.to(device)).cpu()
        projection: nn.Module = nn.Flatten()
        if learnt := LEARNT.get(features.read_out.kind):
            with seeded(Stream.TOKEN_PROJECTION, seed):
                places, dim = selected.shape[1:]
                projection = learnt(places, dim, features.read_out)
        with torch.no_grad():
            width = projection(selected).shape[1]
        super().__init__(observation_space, width)
        self.projection = projection
        # A frozen one is in a tuple, where torch does not look for parameters.
        self._shared: tuple[EncoderFeatures, ...] = ()
        if frozen:
            self._shared = (features.requires_grad_(False).eval(),)
        else:
            self.features = copy_of(features)
            for parameter in self.features.parameters():
                parameter.lr_scale = lr_scale  # see ScaledAdam

    def forward(self, observations: Tensor) -> Tensor:
        """(B, F) of observations (B, stack, H, W): bytes, as floats.

        Raises UserError where they were scaled to [0, 1].
        """
        screens = observations.to(torch.uint8)
        if not torch.equal(screens.to(observations.dtype), observations):
            raise UserError(
                "the observations are no bytes: give the model policy_kwargs with "
                "normalize_images=False, as fovea.agents.sb3.policy_kwargs does"
            )
        if not self._shared:
            return self.projection(self.features(screens))
        with torch.no_grad():
            features = self._shared[0](screens)
        return self.projection(features)

    def apply(self, fn: Callable[[nn.Module], None]) -> EncoderExtractor:
        """As `nn.Module.apply`, but to what is new alone: the encoder's weights stay."""
        self.projection.apply(fn)
        return self

    def _apply(self, fn: Callable, recurse: bool = True) -> EncoderExtractor:
        for features in self._shared:  # to another device, say
            features._apply(fn)
        return super()._apply(fn, recurse)

    def __deepcopy__(self, memo: dict) -> EncoderExtractor:
        shared, self._shared = self._shared, ()
        memo[id(self)] = made = self.__class__.__new__(self.__class__)
        try:
            made.__dict__.update(copy.deepcopy(self.__dict__, memo))
        finally:
            self._shared = made._shared = shared
        return made

    def get_extra_state(self) -> dict[str, Tensor]:
        """The weights of a frozen encoder and its norm, for the model's file."""
        return {name: w for features in self._shared for name, w in features.state_dict().items()}

    def set_extra_state(self, state: dict[str, Tensor]) -> None:
        """Take these weights."""
        for features in self._shared:
            features.load_state_dict(state)


def copy_of(features: EncoderFeatures) -> EncoderFeatures:
    """Such that its weights learn by themselves."""
    made = EncoderFeatures(features.config, features.read_out)
    made.load_state_dict(features.state_dict())
    return made.requires_grad_(True)


class ScaledAdam(torch.optim.Adam):
    """Adam in which parameters learn at a share of the rate, their attribute `lr_scale`, or at all.

    stable-baselines3 gives all groups one rate before every update.

    Args:
        parameters: those that learn.
        lr: the rate.
        how: Adam's other settings.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, **how: Any):
        scales: dict[float, list[nn.Parameter]] = {}
        for parameter in parameters:
            scales.setdefault(getattr(parameter, "lr_scale", 1.0), []).append(parameter)
        groups = [{"params": some, "lr_scale": scale} for scale, some in scales.items()]
        super().__init__(groups, lr=lr, **how)

    def step(self, closure: Callable | None = None) -> Any:
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            group["lr"] = group["lr"] * group["lr_scale"]
        try:
            return super().step(closure)
        finally:
            for group, rate in zip(self.param_groups, rates, strict=True):
                group["lr"] = rate
