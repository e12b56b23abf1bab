"""What an encoder attends to, how sparse it is, whether it collapsed, what can be read off it.

    from fovea import probes

    tables = probes.measure("runs/mine", ["runs/recordings"], probe="state", samples=2000)
    tables["overall"]                                   # shown in a notebook
    pandas.DataFrame(tables["variables"].records())
    maps = probes.attention_map(encoder, screens)       # (N, stack, H, W) uint8 to (N, gh, gw)
    probes.overlay(encoder, screens, maps)              # (N, H, W, 3) uint8, RGB
    agent = load_agent("runs/dqn").agent                # where its values of actions come from
    probes.attribute(agent.acting_encoder, agent.action_scores, screens, actions)   # (N, h, w)

What a probe of your own is written with is here too: it gets the `Splits` of each game, and returns
what was `Measured`, as a list of `Table` (docs/extending.md).

Nothing is imported before it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fovea.lazy import lazily

if TYPE_CHECKING:
    from fovea.figures import Comparison as Comparison
    from fovea.figures import Verdict as Verdict
    from fovea.pretrain.encoders.attention import attention_map as attention_map
    from fovea.pretrain.encoders.attention import overlay as overlay
    from fovea.pretrain.encoders.attribution import attribute as attribute
    from fovea.probes.during_training import DuringTraining as DuringTraining
    from fovea.probes.features import NotMeasured as NotMeasured
    from fovea.probes.features import Split as Split
    from fovea.probes.features import Splits as Splits
    from fovea.probes.features import stacks as stacks
    from fovea.probes.run import measure as measure
    from fovea.probes.state import r2 as r2
    from fovea.results import Measured as Measured
    from fovea.tables import Table as Table

__getattr__, __dir__ = lazily(__name__)
