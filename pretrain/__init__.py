"""Vision encoders, their folders, and the objectives that pretrain them without rewards.

    from fovea.pretrain import VICReg, Windows, load_encoder

    lightning.Trainer(max_steps=1000).fit(VICReg(), Windows(["recordings/pong"]))
    features = load_encoder("runs/mine").encode_array(screens)    # (N, stack, H, W) uint8

Configs name the classes as they are named here. Nothing is imported before it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fovea.lazy import lazily

if TYPE_CHECKING:
    from fovea.pretrain.data import Batch as Batch
    from fovea.pretrain.data import Windows as Windows
    from fovea.pretrain.encoders.cnn import CNN as CNN
    from fovea.pretrain.encoders.encoder import Encoder as Encoder
    from fovea.pretrain.encoders.encoder import Features as Features
    from fovea.pretrain.encoders.folder import export_encoder as export_encoder
    from fovea.pretrain.encoders.folder import load_encoder as load_encoder
    from fovea.pretrain.encoders.multi_query import MultiQueryReadOut as MultiQueryReadOut
    from fovea.pretrain.encoders.multi_query import MultiQueryShape as MultiQueryShape
    from fovea.pretrain.encoders.vit import Shape as Shape
    from fovea.pretrain.encoders.vit import ViT as ViT
    from fovea.pretrain.objectives.atc import ATC as ATC
    from fovea.pretrain.objectives.barlow_twins import BarlowTwins as BarlowTwins
    from fovea.pretrain.objectives.base import Objective as Objective
    from fovea.pretrain.objectives.byol import BYOL as BYOL
    from fovea.pretrain.objectives.components import Components as Components
    from fovea.pretrain.objectives.dino import DINO as DINO
    from fovea.pretrain.objectives.icvf import ICVF as ICVF
    from fovea.pretrain.objectives.inverse_dynamics import InverseDynamics as InverseDynamics
    from fovea.pretrain.objectives.lewm import LeWM as LeWM
    from fovea.pretrain.objectives.mae import MAE as MAE
    from fovea.pretrain.objectives.moco_v3 import MoCoV3 as MoCoV3
    from fovea.pretrain.objectives.one_step_fb import OneStepFB as OneStepFB
    from fovea.pretrain.objectives.recipe import Recipe as Recipe
    from fovea.pretrain.objectives.simclr import SimCLR as SimCLR
    from fovea.pretrain.objectives.spr import SPR as SPR
    from fovea.pretrain.objectives.st_dim import STDIM as STDIM
    from fovea.pretrain.objectives.supervised import Supervised as Supervised
    from fovea.pretrain.objectives.temporal_order import TemporalOrder as TemporalOrder
    from fovea.pretrain.objectives.tov_vicreg import TOVVICReg as TOVVICReg
    from fovea.pretrain.objectives.tov_vicreg_paper import PaperTOVVICReg as PaperTOVVICReg
    from fovea.pretrain.objectives.two_views import TwoViews as TwoViews
    from fovea.pretrain.objectives.v_pretraining import VPretraining as VPretraining
    from fovea.pretrain.objectives.vicreg import VICReg as VICReg
    from fovea.pretrain.optim import Optimisation as Optimisation

__getattr__, __dir__ = lazily(__name__)
