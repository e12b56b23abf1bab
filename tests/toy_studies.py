"""Which runs of each shipped study are run at toy size; the study `gpu` has tests of its own."""

from __future__ import annotations

ALONE = {
    "objectives": ["initial", "lewm_stacks"],
    "recipe": ["recipe_longer", "tov_vicreg_far"],
    "pretraining": ["recipe", "vicreg_random"],
    "fb_features": ["one_step_fb", "icvf"],
    "v_pretraining": ["action", "noise"],
    "unseen_game": ["recipe"],
    "agents": ["dqn_summary", "ppo_tokens"],
    "tiers": ["agent"],
    "shipped": ["shipped", "untrained"],
    "returns": ["cnn", "recipe_last_block"],
    "returns_ppo": ["cnn", "recipe"],
    "read_outs": ["attention", "block_2"],
    "d5rl": ["seen_random", "unseen_weak_online", "unseen_weak"],
}
"""In tests/analysis/test_studies.py."""
FAMILY = {
    "warm_start": ["cal_ql", "retained_5k", "cloned", "ppo_warmup_5k"],
    "robustness": ["l2m"],
    "degraded": ["roma", "render_returns"],
    "distil": ["dqn", "cnn", "ppo_after_warm"],
    "fusion": ["fused_shuffled", "ppo_fused"],
    "one_step_fb": ["fb"],
    "contexts": ["sticky_0.3"],
    "dpt": ["dpt"],
    "curriculum": ["alp", "again"],
}
"""In tests/analysis/test_family_studies.py."""
