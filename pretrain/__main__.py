"""`python -m pretrain fit -c CONFIG --run FOLDER`."""

from __future__ import annotations

import sys

from atari.command import UserError, main
from pretrain.heap import keep_freed

HELP = """Pretrain vision encoders on recorded screens, without rewards.

    python -m pretrain fit -c pretrain/configs/tov_vicreg.yaml --run runs/mine
    python -m pretrain fit --help            every setting
    python -m pretrain.hub --help            list, verify and describe encoder folders

fit needs recordings (python -m atari collect) and writes a run folder: run.json, config.yaml,
metrics.csv, checkpoints/ and, at the end, encoder/. The same command again resumes.
"""


def run() -> None:
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="")
    elif arguments[0] == "fit":
        from pretrain.fit import fit

        fit(arguments[1:])
    else:
        raise UserError(f"unknown command {arguments[0]!r}: the one command is fit")


if __name__ == "__main__":
    keep_freed()
    main(run)
