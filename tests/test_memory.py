"""What is free is counted where it will be used."""

from __future__ import annotations

import shutil
from pathlib import Path

from fovea.memory import free_disk, free_memory, total_memory


def test_free_memory_is_a_part_of_all_memory() -> None:
    assert 0 < free_memory() <= total_memory()


def test_a_folder_that_is_still_to_be_made_has_the_disk_of_the_one_it_will_lie_in(
    tmp_path: Path,
) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert abs(free_disk(tmp_path / "not" / "yet") - free) < 2**30
