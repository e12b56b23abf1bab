"""`fovea pretrain fit`: train an objective on recordings and export its encoder."""

from __future__ import annotations

from lightning import Callback

from fovea.pretrain.data import Windows
from fovea.pretrain.encoders.folder import export_encoder
from fovea.pretrain.objectives.base import Objective
from fovea.pretrain.training.cli import FitCLI
from fovea.pretrain.training.monitor import CollapseMonitor
from fovea.pretrain.training.progress import Progress

DESCRIPTION = """Pretrain an encoder on recordings and export it to RUN/encoder. The same command
again goes on after a kill, bit for bit, or says that the run is done. Any setting of the config
can be given here: --model.init_args.optimisation.lr 0.001, --data.batch_size 256."""


class PretrainCLI(FitCLI):
    kind = "pretrain"

    def title(self) -> str:
        return f"{type(self.model).__name__} on {', '.join(self.datamodule.frames.games)}"

    def facts(self) -> dict:
        return {"data": self.datamodule.frames.data, "batch": self.datamodule.batch_size}

    def own_callbacks(self) -> list[Callback]:
        progress = Progress(self.folder.name, "samples", self.datamodule.batch_size)
        return [CollapseMonitor(), progress]


def fit(args: list[str]) -> None:
    """Run the command with these arguments."""
    cli = PretrainCLI(Objective, Windows, args, DESCRIPTION)
    with cli.stack:
        if cli.fit():
            steps = cli.trainer.global_step
            facts = {
                "method": type(cli.model).__name__,
                "games": list(cli.datamodule.frames.games),
                "data_sha256": cli.datamodule.frames.data,
                "steps": steps,
                "samples": steps * cli.datamodule.batch_size,
                "seed": cli.config.seed_everything,
            }
            folder = export_encoder(cli.model.encoder, cli.folder / "encoder", facts)
            cli.done()
            print(f"encoder: {folder}")
