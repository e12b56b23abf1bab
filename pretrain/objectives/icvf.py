"""ICVF (Ghosh, Bhateja, Levine 2023, arXiv 2304.04782): intention-conditioned value functions.

V(s, g, z): how soon does a policy that pursues the intention z come from screens s to screens g?
Learned from neighbours in time alone, without actions and rewards, as V-PTR does it (Bhateja et al.
2023, arXiv 2309.13041).
"""

from __future__ import annotations

import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveInt
from torch import Tensor, nn

from fovea.atari.frames import Frames
from fovea.pretrain.encoders.vit import Shape
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.optim import Optimisation
from fovea.pretrain.terms.precision import full_precision
from fovea.pretrain.terms.teacher import ema_update, make_teacher
from fovea.seeding import Draws, Stream, seeded

# Shares of goals: the screens now, later ones of the episode; the rest are any screens.
NOW, LATER = 0.2, 0.5


class ICVF(Objective):
    """Two intention-conditioned values, learned by expectile regression on a teacher's.

    Args:
        width: of the two layers that map an encoding to a state, a goal or an intention.
        expectile: weight of a step whose advantage is positive; that of the others is 1 less this.
        discount: of a step.
        same: probability that a sample's intention is its goal.
        momentum: of the teacher.
        encoder: shape of the encoder that is pretrained.
        optimisation: optimiser and learning rate.
        compiled: compile the encoder and its teachers with torch.compile.
        seed: of the initial weights and of every draw.
    """

    offsets = (0, 1)
    labels = ("place",)

    def __init__(
        self,
        width: PositiveInt = 256,
        expectile: ClosedUnitInterval = 0.9,
        discount: ClosedUnitInterval = 0.99,
        same: ClosedUnitInterval = 0.5,
        momentum: ClosedUnitInterval = 0.995,
        encoder: Shape = Shape(),
        optimisation: Optimisation = Optimisation(),
        compiled: bool = False,
        seed: NonNegativeInt = 0,
    ):
        super().__init__(encoder, optimisation, compiled, seed)
        self.expectile, self.discount = expectile, discount
        self.same, self.momentum = same, momentum
        with seeded(Stream.OBJECTIVE_HEAD, self.seed):
            self.values = Values(self.state_dim, width)
        self.teacher, self.teacher_values = make_teacher(self.encoder), make_teacher(self.values)

    def places(self, at: Tensor, frames: Frames, draws: Draws) -> Tensor:
        """(B, 4): now, the next step, a goal g and an intention z."""
        anchors = frames.starts(self.encoder.stack, self.offsets)
        goal, intention = (_goals(at, frames, anchors, draws) for _ in ("goal", "intention"))
        intention = torch.where(draws.chance(self.same), goal, intention)
        return torch.stack([at, at + 1, goal, intention], dim=1)

    def views(self, windows: Tensor, draws: Draws, place: Tensor) -> tuple[Tensor, ...]:
        """Four (B, stack, H, W) uint8; whether now is the goal, and the intention: (B,) float."""
        now, _, goal, intention = place.unbind(1)
        return *windows.unbind(1), (now == goal).float(), (now == intention).float()

    def losses(self, now, after, goal, intention, at_goal, at_intention) -> dict[str, Tensor]:
        student = self.encode(now, goal, intention)
        s, g, z = self.values.read([self.state(one) for one in student])
        teacher = self.encode(now, after, goal, intention, by=self.teacher)
        ts, tn, tg, tz = self.teacher_values.read([self.state(one) for one in teacher])
        at_goal, at_intention = self.gather(at_goal, at_intention)
        loss, advantage = icvf_loss(
            self.values(s, g, z),
            self.teacher_values(tn, tg, tz),
            self.teacher_values(tn, tz, tz),
            self.teacher_values(ts, tz, tz),
            rewards=(at_goal - 1, at_intention - 1),
            masks=(1 - at_goal, 1 - at_intention),
            expectile=self.expectile,
            discount=self.discount,
        )
        self.note(advantage=advantage)
        return {"value": loss}

    def after_optimizer_step(self) -> None:
        ema_update(self.teacher, self.encoder, self.momentum)
        ema_update(self.teacher_values, self.values, self.momentum)


class Values(nn.Module):
    """Two values V(s, g, z) = <A(T(z) * phi(s)), B(T(z) * psi(g))> of encodings (B, dim)."""

    def __init__(self, dim: int, width: PositiveInt):
        super().__init__()
        self.norm = nn.BatchNorm1d(dim, affine=False)  # screens of a game differ by little
        self.heads = nn.ModuleList(_Value(dim, width) for _ in range(2))

    def read(self, states: list[Tensor]) -> tuple[Tensor, ...]:
        """The encodings (B, dim) of several windows' states, normalised over all of them."""
        return self.norm(torch.cat(states)).chunk(len(states))

    def forward(self, s: Tensor, g: Tensor, z: Tensor) -> Tensor:
        """(2, B)."""
        return torch.stack([head(s, g, z) for head in self.heads])


class _Value(nn.Module):
    def __init__(self, dim: int, width: PositiveInt):
        super().__init__()
        self.phi, self.psi = _layers(dim, width), _layers(dim, width)
        self.intent = _layers(width, width)
        self.a, self.b = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, s: Tensor, g: Tensor, z: Tensor) -> Tensor:
        intent = self.intent(self.psi(z))
        # In full precision: what is learned is small differences of large sums.
        return (self.a(intent * self.phi(s)).float() * self.b(intent * self.psi(g)).float()).sum(1)


@full_precision
def icvf_loss(
    values: Tensor,
    next_values: Tensor,
    next_intended: Tensor,
    intended: Tensor,
    *,
    rewards: tuple[Tensor, Tensor],
    masks: tuple[Tensor, Tensor],
    expectile: float,
    discount: float,
    least: bool = True,
) -> tuple[Tensor, Tensor]:
    """The loss of two values, and the mean advantage of the step for the intention.

    Args:
        values: (2, B) V(s, g, z).
        next_values: (2, B) the teacher's V(s', g, z).
        next_intended: (2, B) the teacher's V(s', z, z).
        intended: (2, B) the teacher's V(s, z, z).
        rewards: (B,) 0 where s is g, else -1; the same for z.
        masks: (B,) 0 where s is g, which ends the episode, else 1; the same for z.
        expectile: weight of a step whose advantage is positive.
        discount: of a step.
        least: the advantage takes the lesser of the two next values, not their mean.
    """
    target = rewards[0] + discount * masks[0] * next_values
    ahead = next_intended.amin(0) if least else next_intended.mean(0)
    advantage = rewards[1] + discount * masks[1] * ahead - intended.mean(0)
    weight = torch.where(advantage >= 0, expectile, 1 - expectile)
    loss = (weight * (target.detach() - values).pow(2)).mean(1).sum()
    return loss, advantage.mean()


def _goals(at: Tensor, frames: Frames, anchors: Tensor, draws: Draws) -> Tensor:
    """(B,) the newest screens of goals: now, later in the episode, or any of the anchors."""
    later = at + 1 + (draws.uniform(0, 1) * (frames.last(at) - at)).long()
    anywhere = anchors[(draws.uniform(0, 1) * len(anchors)).long()]
    kind = draws.uniform(0, 1)
    return torch.where(kind < NOW, at, torch.where(kind < NOW + LATER, later, anywhere))


def _layers(inside: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inside, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width)
    )
