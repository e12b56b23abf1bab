"""What every objective that compares two augmented views of the same screens shares."""

from __future__ import annotations

from jsonargparse.typing import NonNegativeFloat, NonNegativeInt
from torch import Tensor

from fovea.pretrain.augment import Chain, augment, check
from fovea.pretrain.encoders.encoder import Features
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.centering import center_per_game
from fovea.pretrain.terms.inverse_dynamics import InverseTask
from fovea.seeding import Draws, Stream, seeded

SHIFT_AND_INTENSITY: Chain = [{"name": "shift", "pixels": 4}, {"name": "intensity", "scale": 0.05}]


class TwoViews(Objective):
    """Two views of the screens now, or of now and later; and what may be added to comparing them.

    * `center_per_game`: summaries are compared as they differ within a game (see
      `terms.centering`), since views agree on which game it is from the start, and so well that
      little is left to learn.
    * Inverse dynamics sees windows of its own, as they were recorded, now and so many agent steps
      later that they share no screen (Zhang et al. 2022, arXiv 2208.12345, add it to BYOL and to
      Barlow Twins).

    A subclass that has them hands both settings on, and what `views` returns after the two views to
    `summaries` (the game) and `inverse_losses` (all of it).

    Args:
        augment_first: augmentations of the first view.
        augment_second: augmentations of the second view.
        later: agent steps from the screens of the first view to those of the second.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.
        center_per_game: compare summaries as they differ within a game.
        inverse_weight: coefficient of inverse dynamics as an added term; 0 leaves it out.
    """

    def __init__(
        self,
        augment_first: list[dict] = SHIFT_AND_INTENSITY,
        augment_second: list[dict] = SHIFT_AND_INTENSITY,
        later: NonNegativeInt = 0,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: NonNegativeInt = 0,
        center_per_game: bool = False,
        inverse_weight: NonNegativeFloat = 0.0,
    ):
        super().__init__(encoder, optimisation, compiled, seed)
        self.chains = check(augment_first), check(augment_second)
        self.offsets = (0, later) if later else (0,)
        self.centered, self.inverse_weight = center_per_game, inverse_weight
        self.inverse_offsets: tuple[int, ...] = ()
        if center_per_game:
            self.labels = ("game",)
        if inverse_weight:
            self.labels = ("game", "action")
            self.inverse_offsets = tuple(range(self.encoder.stack + 1))
            with seeded(Stream.INVERSE_HEAD, self.seed):
                self.inverse_task = InverseTask(self.state_dim, self.encoder.stack)
        self.offsets += self.inverse_offsets

    def views(
        self,
        windows: Tensor,
        draws: Draws,
        game: Tensor | None = None,
        action: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """(B, stack, H, W) uint8, twice; then what `added_views` has of the rest.

        Of windows (B, 1 or 2, stack, H, W), which those of inverse dynamics follow.
        """
        count = windows.shape[1] - len(self.inverse_offsets)
        views = self.augmented(windows[:, 0], windows[:, count - 1], draws)
        return *views, *self.added_views(windows[:, count:], game, action)

    def augmented(self, first: Tensor, second: Tensor, draws: Draws) -> list[Tensor]:
        """Screens (B, stack, H, W) uint8, each after its chain."""
        ends = zip((first, second), self.chains, strict=True)
        return [augment(end, draws, chain) for end, chain in ends]

    def added_views(
        self, windows: Tensor, game: Tensor | None, action: Tensor | None
    ) -> tuple[Tensor, ...]:
        """The game (B,) int64 where it is asked for; with inverse dynamics three things more.

        They are the first and the last of windows (B, stack + 1, stack, H, W), and the actions
        (B, stack) between them. Labels (B, K) are of all windows, of which these are the last.
        """
        if game is None:
            return ()
        if action is None:
            return (game[:, 0],)
        between = action[:, -len(self.inverse_offsets) : -1]
        return game[:, 0], windows[:, 0], windows[:, -1], between

    def summaries(self, features: list[Features], game: Tensor | None = None) -> list[Tensor]:
        """(B, D) of each view's features, centred per game (B,) where that is set."""
        summaries = [view.summary for view in features]
        if not self.centered:
            return summaries
        (game,) = self.gather(game)
        return [center_per_game(summary, game) for summary in summaries]

    def inverse_losses(self, game: Tensor | None, *views: Tensor) -> dict[str, Tensor]:
        """The weighted loss of inverse dynamics on what `added_views` returned; none of none."""
        if not views:
            return {}
        now, later, action = views
        states = [self.state(window) for window in self.encode(now, later)]
        loss, accuracy = self.inverse_task(*states, *self.gather(action, game))
        self.note(action_accuracy=accuracy)
        return {"inverse": self.inverse_weight * loss}
