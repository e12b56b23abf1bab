"""Every block of a tutorial runs, in its order, from an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from pages import ROOT, blocks, run, run_commands, smaller

PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
SMALLER = {
    "--steps": "2000",
    "--trainer.max_steps": "2",
    "--samples": "1500",  # so that rewards are among those of every split
    "--episodes": "1",
    "--data.total_steps": "240",
    "--model.optimisation.warmup": "1",
}
ALSO = {
    "collect": ["--shard-steps", "300"],
    "pretrain fit": ["--data.batch_size", "8", "--data.held_out", "16"],
    "agents fit": ["--model.features.norm_samples", "64",
                   "--model.learning_starts", "200"],
    "evaluate": ["--max-frames", "400", "--seconds", "1"],
    "study": ["--samples", "16", "--seeds", "0"],
}  # fmt: skip


def shortened(words: list[str]) -> list[str]:
    command = " ".join(words[1:3])
    more = [word for named, added in ALSO.items() if named in command for word in added]
    return smaller(words, SMALLER) + more


@pytest.mark.evidence
@pytest.mark.slow
@pytest.mark.timeout(1800)  # some minutes, where nothing else runs
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_runs_as_it_stands(page: Path, tmp_path: Path) -> None:
    for block in blocks(page, "python", "yaml", "sh"):
        if block.file:
            text = block.text.replace("steps: 10000", "steps: 900").replace("batch: 64", "batch: 8")
            (tmp_path / block.file).write_text(text, encoding="utf-8")
        elif block.language == "sh":
            assert {words[0] for words in block.commands} == {"fovea"}
            run_commands(tmp_path, [shortened(words) for words in block.commands])
        else:
            run(tmp_path, "-c", block.text)
