"""What every objective that compares two augmented views of the same screens shares."""

from __future__ import annotations

from torch import Tensor

from fovea.pretrain.augment import Chain, augment, check
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.inverse_dynamics import InverseTask
from fovea.seeding import Draws, Stream, seeded

SHIFT_AND_INTENSITY: Chain = [{"name": "shift", "pixels": 4}, {"name": "intensity", "scale": 0.05}]


class TwoViews(Objective):
    """Two views of the screens now, or of now and later; and inverse dynamics as an added term.

    The added term sees windows of its own, as they were recorded, now and so many agent steps later
    that they share no screen (Zhang et al. 2022, arXiv 2208.12345, add it to BYOL and to Barlow
    Twins). A subclass that takes it hands `inverse_weight` on, and what `views` returns last on to
    `inverse_losses`.

    Args:
        augment_first: augmentations of the first view.
        augment_second: augmentations of the second view.
        later: agent steps from the screens of the first view to those of the second.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.
        inverse_weight: coefficient of inverse dynamics as an added term; 0 leaves it out.
    """

    def __init__(
        self,
        augment_first: list[dict] = SHIFT_AND_INTENSITY,
        augment_second: list[dict] = SHIFT_AND_INTENSITY,
        later: int = 0,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: int = 0,
        inverse_weight: float = 0.0,
    ):
        super().__init__(encoder, optimisation, compiled, seed)
        self.chains = check(augment_first), check(augment_second)
        self.offsets = (0, later) if later else (0,)
        self.inverse_weight, self.inverse_offsets = inverse_weight, ()
        if inverse_weight:
            self.labels = ("action", "game")
            self.inverse_offsets = tuple(range(self.encoder.stack + 1))
            with seeded(Stream.INVERSE_HEAD, self.seed):
                self.inverse_task = InverseTask(self.state_dim, self.encoder.stack)
        self.offsets += self.inverse_offsets

    def views(
        self,
        windows: Tensor,
        draws: Draws,
        action: Tensor | None = None,
        game: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """(B, stack, H, W) uint8, twice; then what `inverse_losses` takes.

        Of windows (B, 1 or 2, stack, H, W), which those of inverse dynamics follow.
        """
        count = windows.shape[1] - len(self.inverse_offsets)
        views = self.augmented(windows[:, 0], windows[:, count - 1], draws)
        return *views, *self.inverse_views(windows[:, count:], action, game)

    def augmented(self, first: Tensor, second: Tensor, draws: Draws) -> list[Tensor]:
        """Screens (B, stack, H, W) uint8, each after its chain."""
        ends = zip((first, second), self.chains, strict=True)
        return [augment(end, draws, chain) for end, chain in ends]

    def inverse_views(
        self, windows: Tensor, action: Tensor | None, game: Tensor | None
    ) -> tuple[Tensor, ...]:
        """Of windows (B, stack + 1, stack, H, W) the first and the last, the actions, the game.

        The labels are (B, K), of all windows, of which these are the last. Nothing where inverse
        dynamics is left out.
        """
        if action is None or game is None:
            return ()
        between = action[:, -len(self.inverse_offsets) : -1]
        return windows[:, 0], windows[:, -1], between, game[:, 0]

    def inverse_losses(self, *views: Tensor) -> dict[str, Tensor]:
        """The weighted loss of inverse dynamics on `inverse_views`; none of none."""
        if not views:
            return {}
        now, later, action, game = views
        states = [self.state(window) for window in self.encode(now, later)]
        loss, accuracy = self.inverse_task(*states, *self.gather(action, game))
        self.note(action_accuracy=accuracy)
        return {"inverse": self.inverse_weight * loss}
