"""The pack: there is one, and it is whole. That a missing folder is one clear line at the start: test_package.py."""

import shutil
from pathlib import Path

import pytest

from nurture.resources import Pack, ResourcesMissing, only_pack, pack


def test_the_shipped_pack_is_whole() -> None:
    assert pack().missing() == []
    assert [folder.name for folder in pack().sequences()] == ["ketamine-and-talk-therapy"]


def test_an_installation_has_exactly_one_pack(tmp_path: Path) -> None:
    with pytest.raises(ResourcesMissing, match="there are: none"):
        only_pack(tmp_path)
    (tmp_path / "bread").mkdir()
    assert only_pack(tmp_path) == Pack(tmp_path / "bread")
    (tmp_path / ".idea").mkdir()  # what an editor leaves
    assert only_pack(tmp_path) == Pack(tmp_path / "bread")
    (tmp_path / "tea").mkdir()
    with pytest.raises(ResourcesMissing, match="there are: bread, tea"):
        only_pack(tmp_path)


@pytest.mark.parametrize("name", sorted({path.name for path in pack().folder.iterdir()} - {"pages"}))
def test_each_file_that_a_pack_lacks_is_named(tmp_path: Path, name: str) -> None:
    shutil.copytree(pack().folder, tmp_path / "copy")
    lost = tmp_path / "copy" / name
    if lost.is_dir():
        shutil.rmtree(lost)
    else:
        lost.unlink()
    assert Pack(tmp_path / "copy").missing() == [lost]
