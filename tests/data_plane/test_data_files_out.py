"""Very many small files are written by two processes, and an error of either is one of the whole."""

import os
from pathlib import Path

import pytest

from hakka.data import files_out
from hakka.data.files_out import write_files

COUNT = 5_000


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def contents(count: int = COUNT):
    return ((f"{i % 7}/{i}.txt", b"%d\n" % i * (i % 50)) for i in range(count))


@pytest.fixture
def folder(tmp_path):
    for i in range(7):
        (tmp_path / f"{i}").mkdir()
    return tmp_path


@pytest.mark.parametrize("cores", [1, 2])
def test_every_file_is_there_with_its_content(folder, monkeypatch, cores):
    monkeypatch.setattr(files_out, "usable_cores", lambda: cores)
    write_files(folder, contents())
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.txt")}
    assert found == dict(contents())


@pytest.mark.parametrize("taken", [10, 1500, COUNT - 1])
def test_a_file_that_is_there_already_is_never_replaced(folder, taken):
    path = folder / f"{taken % 7}" / f"{taken}.txt"
    path.write_text("mine")
    with pytest.raises(FileExistsError):
        write_files(folder, contents())
    assert path.read_text() == "mine"


def test_a_helper_that_is_killed_is_an_error(folder):
    before = children()

    def killing():
        for i, pair in enumerate(contents()):
            if i == 3_000:
                [helper] = children() - before
                os.kill(int(helper), 9)
            yield pair

    with pytest.raises(OSError, match="ended by signal 9"):
        write_files(folder, killing())


def test_an_error_on_the_way_ends_the_helper(folder):
    before = children()

    def breaking():
        yield from contents(2_000)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_files(folder, breaking())
    assert children() == before
