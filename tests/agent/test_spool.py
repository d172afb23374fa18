import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.spool import MAX_FILE_BYTES, Address, SpoolFile, files_in
from personas.reports import AnyCallEvent, Turn, numbered

ADDRESS = Address(call_id="c1", attempt=1, url="http://127.0.0.1/api/reports", token="t")


def turn(seq: int, text: str = "Hello.") -> AnyCallEvent:
    return numbered(Turn(by="agent", text=text), seq=seq, attempt=1, at=1.0)


def taken(path: Path) -> SpoolFile:
    file = SpoolFile.take_over(path)
    assert file is not None
    return file


def test_what_was_written_is_read(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path, ADDRESS)
    events = (turn(1, "Grüße\nund mehr"), turn(2))
    file.append(events)
    file.close()

    spooled = taken(file.path).read()

    assert spooled is not None
    assert (spooled.address, spooled.events, spooled.unreadable) == (ADDRESS, events, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["c1.1.spool"]


def test_nobody_else_reads_it(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path / "spool", ADDRESS)

    assert (file.path.stat().st_mode & 0o777, file.path.parent.stat().st_mode & 0o777) == (
        0o600,
        0o700,
    )


def test_a_file_whose_writer_lives_is_not_taken_over(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path, ADDRESS)

    assert SpoolFile.take_over(file.path) is None
    file.close()
    assert SpoolFile.take_over(file.path) is not None


def test_one_attempt_has_one_file(tmp_path: Path) -> None:
    SpoolFile.create(tmp_path, ADDRESS)

    with pytest.raises(FileExistsError):
        SpoolFile.create(tmp_path, ADDRESS)
    SpoolFile.create(tmp_path, ADDRESS.model_copy(update={"attempt": 2}))

    assert len(files_in(tmp_path)) == len(list(tmp_path.iterdir())) == 2


def test_a_call_id_is_no_path(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path / "in", ADDRESS.model_copy(update={"call_id": "../../x/é"}))

    assert file.path.parent == tmp_path / "in"


@given(st.integers(0, 2_000))
def test_wherever_a_crash_cuts_it_what_was_whole_is_read(cut: int) -> None:
    folder = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path()  # noqa: S108  # no disk
    file = SpoolFile.create(folder, ADDRESS.model_copy(update={"call_id": f"cut-{os.getpid()}"}))
    try:
        events = tuple(turn(seq, "x" * seq) for seq in range(1, 8))
        ends = [file.path.stat().st_size]
        for event in events:
            file.append([event])
            ends.append(file.path.stat().st_size)
        os.truncate(file.path, cut)

        spooled = file.read()
    finally:
        file.remove()

    whole = sum(end <= cut for end in ends) - 1
    if whole < 0:
        assert spooled is None
    else:
        assert spooled is not None
        assert (spooled.events, spooled.unreadable) == (events[:whole], 0)


def test_a_damaged_line_takes_no_other_along(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path, ADDRESS)
    file.append([turn(1), turn(2, "Goodbye."), turn(3)])
    raw = file.path.read_bytes().replace(b"Goodbye", b"Goodbyf")
    file.path.write_bytes(raw)

    spooled = file.read()

    assert spooled is not None
    assert [event.seq for event in spooled.events] == [1, 3]
    assert spooled.unreadable == 1


def test_a_write_that_fails_leaves_no_half_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = SpoolFile.create(tmp_path, ADDRESS)
    file.append([turn(1)])
    real = os.write

    def full(fd: int, content: bytes) -> int:
        if len(content) < 20:
            raise OSError(28, "No space left on device")
        return real(fd, content[:-10])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="space"):
        file.append([turn(2)])
    monkeypatch.undo()
    file.append([turn(3)])

    spooled = file.read()

    assert spooled is not None
    assert ([event.seq for event in spooled.events], spooled.unreadable) == ([1, 3], 0)


def test_a_file_is_bounded(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path, ADDRESS)
    many = [turn(1, "x" * 20_000)] * (MAX_FILE_BYTES // 20_000 + 1)

    with pytest.raises(OSError, match="full"):
        file.append(many)


def test_a_file_that_was_removed_is_not_taken_over(tmp_path: Path) -> None:
    file = SpoolFile.create(tmp_path, ADDRESS)
    file.remove()

    assert SpoolFile.take_over(file.path) is None
    assert files_in(tmp_path) == files_in(tmp_path / "none") == []
