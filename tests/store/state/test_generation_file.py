"""The record kept beside the database."""

from pathlib import Path

from nurture.domain.restore_evidence import Position
from nurture.store.state.generation_file import FILE_NAME, GenerationFiles


def test_nobody_else_on_the_machine_reads_it_also_where_an_older_version_made_it(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    path.touch(0o644)
    path.chmod(0o644)
    files = GenerationFiles([path])
    files.write("d", Position(0, 1, 1))
    files.close()
    assert path.stat().st_mode & 0o777 == 0o600
