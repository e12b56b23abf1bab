"""Hold this project's functions to numbers that the methods' own authors' code produced.

    python tests/oracle.py tests/oracle.npz

Every case of every group in the file is compared with the function that the project itself uses,
never with a formula written here. A group that is not known fails.
The last line is `N passed, N failed`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

Case = dict[str, np.ndarray]
Pairs = dict[str, tuple[object, np.ndarray]]  # name: (ours, theirs)

TOLERANCE = {"hl_gauss": 1e-4}  # made in float32; every other group in float64


def vicreg(case: Case) -> Pairs:
    from fovea.pretrain.objectives.vicreg import vicreg_terms

    x, y = (torch.tensor(case[name], requires_grad=True) for name in ("x", "y"))
    terms = vicreg_terms(x, y)
    weights = {"invariance": 25, "variance": 25, "covariance": 1}
    total = sum(weights[name] * terms[name] for name in weights)
    total.backward()
    pairs = {name: (terms[name].detach(), case[name]) for name in weights}
    return pairs | {
        "total": (total.detach(), case["total"]),
        "grad_x": (x.grad, case["grad_x"]),
        "grad_y": (y.grad, case["grad_y"]),
    }


def dino(case: Case) -> Pairs:
    from fovea.pretrain.objectives.dino import dino_loss, next_centre

    momentum, temperature = (float(case[name]) for name in ("center_momentum", "student_temp"))
    centre = torch.zeros(case["student"].shape[-1], dtype=torch.float64)
    losses, centres, gradients = [], [], []
    for logits, teacher_logits, warm in zip(
        case["student"], case["teacher"], case["teacher_temps"], strict=True
    ):
        student = torch.tensor(logits, requires_grad=True)
        teacher = torch.tensor(teacher_logits).unflatten(0, (2, -1))
        loss = dino_loss(
            student.unflatten(0, (int(case["n_crops"]), -1)),
            teacher,
            centre,
            student_temperature=temperature,
            teacher_temperature=float(warm),
        )
        loss.backward()
        centre = next_centre(centre, teacher, momentum=momentum)
        losses.append(loss.detach())
        centres.append(centre[None])
        gradients.append(student.grad)
    return {
        "losses": (torch.stack(losses), case["losses"]),
        "centers": (torch.stack(centres), case["centers"]),
        "grads": (torch.stack(gradients), case["grads"]),
    }


def moco_v3(case: Case) -> Pairs:
    from fovea.pretrain.objectives.moco_v3 import moco_loss

    q1, q2 = (torch.tensor(case[name], requires_grad=True) for name in ("q1", "q2"))
    k1, k2 = (torch.tensor(case[name]) for name in ("k1", "k2"))
    loss = moco_loss(q1, q2, k1, k2, temperature=float(case["temperature"]))
    loss.backward()
    return {
        "loss": (loss.detach(), case["loss"]),
        "grad_q1": (q1.grad, case["grad_q1"]),
        "grad_q2": (q2.grad, case["grad_q2"]),
    }


def tov(case: Case) -> Pairs:
    from fovea.pretrain.terms.order import ORDERS, order_logits, order_loss

    reps, orders = torch.tensor(case["reps"]), ORDERS[torch.tensor(case["permutation"])]
    head = torch.nn.Linear(case["weight"].size, 1, dtype=torch.float64)
    with torch.no_grad():
        head.weight.copy_(torch.tensor(case["weight"]))
        head.bias.copy_(torch.tensor(case["bias"]))
        logits = order_logits(head, reps, orders)
        loss = order_loss(logits, torch.tensor(case["permutation"]) > 0)
    return {
        "permutations": (ORDERS, case["permutations"]),
        "logits": (logits, case["logits"]),
        "loss": (loss, case["loss"]),
    }


def lars(case: Case) -> Pairs:
    from fovea.pretrain.optim import LARS

    parameters = [torch.nn.Parameter(torch.tensor(case[name])) for name in ("weight", "bias")]
    settings = {name: float(case[name]) for name in ("lr", "weight_decay", "momentum", "eta")}
    optimiser = LARS(parameters, **settings)
    steps = []
    for gradients in zip(case["weight_grads"], case["bias_grads"], strict=True):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = torch.tensor(gradient)
        optimiser.step()
        steps.append([parameter.detach().clone() for parameter in parameters])
    weights, biases = (torch.stack(values) for values in zip(*steps, strict=True))
    return {"weights": (weights, case["weights"]), "biases": (biases, case["biases"])}


def gae(case: Case) -> Pairs:
    from fovea.agents.experience.returns import gae

    names = ("rewards", "values", "dones", "next_value", "next_done")
    arguments = {name: torch.tensor(case[name]) for name in names}
    advantages = gae(**arguments, gamma=float(case["gamma"]), gae_lambda=float(case["lam"]))
    return {"advantages": (advantages, case["advantages"])}


def c51(case: Case) -> Pairs:
    from fovea.agents.networks.value_heads import projected

    support = torch.linspace(
        float(case["v_min"]), float(case["v_max"]), case["next_probs"].shape[1], dtype=torch.float64
    )
    returns, nonterminal, probs = (
        torch.tensor(case[name]) for name in ("returns", "nonterminal", "next_probs")
    )
    discount = float(case["gamma"]) ** int(case["n"]) * nonterminal
    moved = returns[:, None] + discount[:, None] * support
    return {"projected": (projected(moved, probs, support), case["projected"])}


def hl_gauss(case: Case) -> Pairs:
    from fovea.agents.networks.value_heads import centres, cross_entropy, histogram, mean

    low, high, bins = (int(case[name]) for name in ("low", "high", "bins"))
    edges = torch.linspace(low, high, bins + 1)
    sigma = float(case["sigma_over_width"]) * (high - low) / bins
    probs = histogram(torch.tensor(case["target"]), edges, sigma)
    return {
        "probs": (probs, case["probs"]),
        "decoded": (mean(probs, centres(edges)), case["decoded"]),
        "loss": (cross_entropy(torch.tensor(case["logits"]), probs).loss.mean(), case["loss"]),
    }


def icvf(case: Case) -> Pairs:
    from fovea.pretrain.objectives.icvf import icvf_loss

    values = (torch.tensor(case[name]) for name in ("v_sgz", "tv_nsgz", "tv_nszz", "tv_szz"))
    loss, _ = icvf_loss(
        *values,
        rewards=tuple(torch.tensor(case[name]) for name in ("rewards", "desired_rewards")),
        masks=tuple(torch.tensor(case[name]) for name in ("masks", "desired_masks")),
        expectile=float(case["expectile"]),
        discount=float(case["discount"]),
        least=bool(case["min_q"]),
    )
    return {"loss": (loss, case["loss"])}


def l2m(case: Case) -> Pairs:
    from fovea.agents.adaptation.pool import Pool, cosines, penalised

    keys, queries = torch.tensor(case["keys"]), torch.tensor(case["query"])
    pool = Pool(*keys.shape, picks=1, pull=0.5, penalty=True, scale=1.0).double()
    with torch.no_grad():
        pool.keys.copy_(keys)
    pool.choice.usage.copy_(torch.tensor(case["usage"]))
    pool.on_task_start()
    pool.on_collect_start()
    weights, similar = pool.choice.weights, cosines(queries, keys)
    return {
        "cosine": (similar, case["cosine"]),
        "penalty": (weights, case["penalty"]),
        "penalised": (penalised(similar, weights), case["penalised"]),
        "choice": (pool.eval()(queries)[:, 0], case["choice"]),
        "choice_penalised": (pool.train()(queries)[:, 0], case["choice_penalised"]),
    }


def stats(case: Case) -> Pairs:
    from fovea.analysis import statistics

    x, y = case["scores_x"], case["scores_y"]
    return {
        "mean": (statistics.mean(x), case["mean"]),
        "median": (statistics.median(x), case["median"]),
        "iqm": (statistics.iqm(x), case["iqm"]),
        "optimality_gap": (statistics.optimality_gap(x), case["optimality_gap"]),
        "prob_improvement": (
            statistics.improvement(x, y),
            case["prob_improvement"],
        ),
    }


def rankme(case: Case) -> Pairs:
    from fovea.probes.collapse import rankme

    return {"value": (rankme(torch.tensor(case["features"])), case["value"])}


def lidar(case: Case) -> Pairs:
    from fovea.probes.collapse import lidar

    settings = {
        "views": int(case["views"]),
        "delta": float(case["delta"]),
        "eps": float(case["eps"]),
    }
    return {"value": (lidar(torch.tensor(case["features"]), **settings), case["value"])}


CHECKS: dict[str, Callable[[Case], Pairs]] = {
    check.__name__: check
    for check in (
        vicreg,
        dino,
        moco_v3,
        icvf,
        tov,
        lars,
        gae,
        c51,
        hl_gauss,
        l2m,
        stats,
        rankme,
        lidar,
    )
}


def read(path: str) -> dict[str, dict[str, Case]]:
    """{group: {case: {array name: array}}}."""
    groups: dict[str, dict[str, Case]] = {}
    with np.load(path) as file:
        for key in file.files:
            group, case, name = key.split("/")
            groups.setdefault(group, {}).setdefault(case, {})[name] = file[key]
    return groups


def wrong(pairs: Pairs, tolerance: float) -> list[str]:
    """What differs by more than `tolerance`, relative to the largest magnitude of the array."""
    lines = []
    for name, (ours, theirs) in pairs.items():
        ours = np.asarray(ours)
        scale = max(np.abs(theirs).max(), 1e-12)
        error = np.abs(ours - theirs).max() / scale if ours.shape == theirs.shape else np.inf
        if not error <= tolerance:
            lines.append(f"{name} is off by {error:.1e} (shapes {ours.shape}, {theirs.shape})")
    return lines


def main(path: str) -> int:
    passed = failed = 0
    for group, cases in sorted(read(path).items()):
        if group not in CHECKS:
            print(f"{group}: FAILED, no such group is known")
            failed += len(cases)
            continue
        for number, case in sorted(cases.items()):
            differences = wrong(CHECKS[group](case), TOLERANCE.get(group, 1e-6))
            passed, failed = passed + (not differences), failed + bool(differences)
            print(
                f"{group}/{number}: {'FAILED, ' + '; '.join(differences) if differences else 'ok'}"
            )
    print(f"{passed} passed, {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tests/oracle.py FILE.npz")
    # Python looks beside the script first, where the tests' folders have the rooms' names.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    sys.exit(main(sys.argv[1]))
