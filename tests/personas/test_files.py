import json
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from personas.errors import PersonaInvalid
from personas.phone import PhoneNumber
from personas.sources.files import (
    MAX_FILE_BYTES,
    FilePersonaSource,
    house,
    read_document,
    read_persona,
    shipped,
)

NUMBER = PhoneNumber("+18655701159")
GOOD = "personality: You are Priya.\n"
BILLION_LAUGHS = b"personality: p\na0: &a0 x\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (level, level, b",".join([b"*a%d" % (level - 1)] * 10))
    for level in range(1, 10)
)


def write(path: Path, text: str = GOOD, *, at: int = 1) -> Path:
    """Write *text*; *at* is its time of change in seconds, as no test waits for a clock's tick."""
    path.write_text(text, encoding="utf-8")
    os.utime(path, (at, at))
    return path


@pytest.mark.parametrize(
    "name",
    [
        "+18655701159.yaml",
        "+18655701159.yml",
        "18655701159.yaml",
        "18655701159.yml",
    ],
)
async def test_a_number_is_found_by_its_files_name(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)

    persona = await FilePersonaSource(tmp_path).find(NUMBER)

    assert persona is not None
    assert persona.personality == "You are Priya."


async def test_of_json_every_byte_is_kept(tmp_path: Path) -> None:
    text = '{ "personality": "p", "n": 1.50 }'
    write(tmp_path / "+18655701159.json", text)

    persona = await FilePersonaSource(tmp_path).find(NUMBER)

    assert persona is not None
    assert persona.raw == text
    assert read_document(tmp_path / "+18655701159.json") == json.loads(text)


async def test_a_number_without_a_file_is_not_found(tmp_path: Path) -> None:
    write(tmp_path / "8655701159.yaml")
    write(tmp_path / "+18655701160.yaml")

    assert await FilePersonaSource(tmp_path).find(NUMBER) is None
    assert await FilePersonaSource(tmp_path / "missing").find(NUMBER) is None


async def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    path = write(tmp_path / "+18655701159.yaml")
    source = FilePersonaSource(tmp_path)
    first = await source.find(NUMBER)

    assert await source.find(NUMBER) is first

    write(path, "personality: You are Lena.\n", at=2)
    second = await source.find(NUMBER)

    assert second is not None
    assert second.personality == "You are Lena."


async def test_a_file_that_was_replaced_within_one_tick_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "+18655701159.yaml", "personality: a\n")
    source = FilePersonaSource(tmp_path)
    await source.find(NUMBER)

    write(tmp_path / "new", "personality: b\n").replace(path)
    persona = await source.find(NUMBER)

    assert persona is not None
    assert persona.personality == "b"


async def test_a_file_that_went_is_gone(tmp_path: Path) -> None:
    path = write(tmp_path / "+18655701159.yaml")
    source = FilePersonaSource(tmp_path)
    await source.find(NUMBER)

    path.unlink()

    assert await source.find(NUMBER) is None


async def test_a_file_that_breaks_leaves_its_last_good_version(tmp_path: Path) -> None:
    path = write(tmp_path / "+18655701159.yaml")
    source = FilePersonaSource(tmp_path)
    good = await source.find(NUMBER)
    write(path, "persona_name: Priya\npersonality: [secret\n", at=2)

    with capture_logs() as logs:
        assert await source.find(NUMBER) is good
        assert await source.find(NUMBER) is good

    (entry,) = logs
    assert entry["event"] == "persona_file.refused"
    assert entry["log_level"] == "error"
    assert entry["problem"] == "the text is not YAML at line 3"
    assert entry["last_good"] is True
    assert "secret" not in repr(logs)


async def test_a_file_that_never_was_good_is_an_error_until_it_is_mended(tmp_path: Path) -> None:
    path = write(tmp_path / "+18655701159.yaml", "persona_name: Priya\n")
    source = FilePersonaSource(tmp_path)

    for _ in range(2):
        with pytest.raises(PersonaInvalid) as caught:
            await source.find(NUMBER)
        assert caught.value.reason == "wrong_fields"

    write(path, at=2)

    assert await source.find(NUMBER) is not None


async def test_of_two_files_for_one_number_the_exact_name_wins_and_it_is_told_once(
    tmp_path: Path,
) -> None:
    write(tmp_path / "18655701159.yaml", "personality: other\n")
    write(tmp_path / "+18655701159.yml", "personality: other\n")
    write(tmp_path / "+18655701159.yaml", "personality: exact\n")
    source = FilePersonaSource(tmp_path)

    with capture_logs() as logs:
        persona = await source.find(NUMBER)
        await source.find(NUMBER)

    assert persona is not None
    assert persona.personality == "exact"
    assert [entry["event"] for entry in logs] == ["persona_file.doubled"]


async def test_a_persona_is_found_by_its_id(tmp_path: Path) -> None:
    write(tmp_path / "assistant-31.yaml")

    assert await FilePersonaSource(tmp_path).by_id("assistant-31") is not None
    assert await FilePersonaSource(tmp_path).by_id("assistant-32") is None


@pytest.mark.parametrize(
    "persona_id", ["", "../secret", "a/b", "a.yaml", "ä", "x" * 65, "a\n", "\x00", "."]
)
async def test_an_id_is_a_name_and_never_a_path(tmp_path: Path, persona_id: str) -> None:
    write(tmp_path / "secret.yaml")
    (tmp_path / "personas").mkdir()

    assert await FilePersonaSource(tmp_path / "personas").by_id(persona_id) is None


def test_the_house_persona_of_the_folder_is_used_if_it_can_be(tmp_path: Path) -> None:
    assert house(None) == shipped("house")
    assert house(tmp_path) == shipped("house")

    write(tmp_path / "house.yaml", "personality: ours\n")
    assert house(tmp_path).personality == "ours"

    write(tmp_path / "house.yaml", "personality: [\n", at=2)
    assert house(tmp_path) == shipped("house")


async def test_the_house_persona_is_read_as_it_changes(tmp_path: Path) -> None:
    source = FilePersonaSource(tmp_path)
    path = write(tmp_path / "house.yaml", "personality: one\n")
    assert (await source.house()).personality == "one"

    write(path, "personality: two\n", at=2)
    assert (await source.house()).personality == "two"

    write(path, "personality: [\n", at=3)
    assert (await source.house()).personality == "two"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.yaml", b"", "not_an_object"),
        ("a.yaml", b"just text", "not_an_object"),
        ("a.yaml", b"a: b: c", "not_yaml"),
        ("a.yaml", b"personality: \x07", "not_yaml"),
        ("a.yaml", b"personality: p\nx: !!python/object:os.system {}", "not_yaml"),
        ("a.yaml", b"personality: p\nx: 2026-99-99", "not_yaml"),
        ("a.yaml", b"[" * 100_000, "not_yaml"),
        ("a.yaml", b"personality: p\nsince: 2026-01-01", "not_json"),
        ("a.yaml", b"a: &a\n  - *a\npersonality: p", "too_deep"),
        (
            "a.yaml",
            BILLION_LAUGHS,
            "too_big",
        ),
        ("a.yaml", b"personality: \xff", "not_utf8"),
        ("a.yaml", b"#" * (MAX_FILE_BYTES + 1), "too_large"),
        ("a.json", b"personality: p", "not_json"),
        ("a.json", b"[]", "not_an_object"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)

    with pytest.raises(PersonaInvalid) as caught:
        read_persona(path)

    assert caught.value.reason == reason


def test_a_folder_or_a_missing_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PersonaInvalid, match="not a file"):
        read_document(tmp_path)
    with pytest.raises(PersonaInvalid, match="No such file"):
        read_document(tmp_path / "missing.yaml")


def test_a_document_is_read_whatever_its_fields(tmp_path: Path) -> None:
    assert read_document(write(tmp_path / "a.yaml", "\ufeffa: 1\n")) == {"a": 1}


def test_there_is_no_shipped_persona_of_another_name() -> None:
    with pytest.raises(PersonaInvalid):
        shipped("nobody")
