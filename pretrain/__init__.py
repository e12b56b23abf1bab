"""Vision encoders, their folders, and the objectives that pretrain them without rewards."""

from __future__ import annotations

from fovea.lazy import lazily

__getattr__, __dir__ = lazily(
    __name__,
    {
        "ATC": "fovea.pretrain.objectives.atc",
        "BYOL": "fovea.pretrain.objectives.byol",
        "BarlowTwins": "fovea.pretrain.objectives.barlow_twins",
        "Components": "fovea.pretrain.objectives.components",
        "DINO": "fovea.pretrain.objectives.dino",
        "Encoder": "fovea.pretrain.encoders.encoder",
        "ICVF": "fovea.pretrain.objectives.icvf",
        "InverseDynamics": "fovea.pretrain.objectives.inverse_dynamics",
        "MAE": "fovea.pretrain.objectives.mae",
        "MoCoV3": "fovea.pretrain.objectives.moco_v3",
        "Objective": "fovea.pretrain.objectives.base",
        "Optimisation": "fovea.pretrain.optim",
        "PaperTOVVICReg": "fovea.pretrain.objectives.tov_vicreg_paper",
        "Recipe": "fovea.pretrain.objectives.recipe",
        "SPR": "fovea.pretrain.objectives.spr",
        "STDIM": "fovea.pretrain.objectives.st_dim",
        "Shape": "fovea.pretrain.encoders.vit",
        "SimCLR": "fovea.pretrain.objectives.simclr",
        "Supervised": "fovea.pretrain.objectives.supervised",
        "TOVVICReg": "fovea.pretrain.objectives.tov_vicreg",
        "TemporalOrder": "fovea.pretrain.objectives.temporal_order",
        "VICReg": "fovea.pretrain.objectives.vicreg",
        "Windows": "fovea.pretrain.data",
        "export_encoder": "fovea.pretrain.encoders.folder",
        "load_encoder": "fovea.pretrain.encoders.folder",
    },
)
