"""What a campaign may be, and prompts that are read without being run."""

from pathlib import Path

import pytest

from router.campaign_files import read_file
from router.campaigns.model import read_campaign
from router.campaigns.prompts import read_prompts
from router.errors import CampaignRefused

NAMES = ("AGENT", "SESSION")


def test_a_campaign_without_a_key_gets_it_from_its_name() -> None:
    campaign = read_campaign({"name": "Spring Sale!"})

    assert (campaign.key, campaign.module) == ("spring-sale", "spring_sale")
    assert (campaign.concurrency, campaign.tools) == (10, True)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "campaign"),
        ({}, "name"),
        ({"name": " "}, "name"),
        ({"name": "a", "key": "../a"}, "key"),
        ({"name": "a", "concurrency": 0}, "concurrency"),
        ({"name": "a", "window": {"opens": "18:00", "closes": "09:00"}}, "window"),
        ({"name": "a", "retries": {"uncertain": {"times": 1, "after_s": 60}}}, "retries"),
        ({"name": "a", "callerid": "x"}, "callerid"),
    ],
)
def test_what_is_no_campaign_names_the_field(document: object, field: str) -> None:
    with pytest.raises(CampaignRefused) as refused:
        read_campaign(document)

    assert field in refused.value.fix


def test_the_strings_of_a_module_are_read() -> None:
    source = b'import os\nAGENT: str = "a" + ("b" "c")\nSESSION = """\nHello.\n"""\nX = 1\n'

    assert read_prompts(source, NAMES) == ("abc", "Hello.")


def test_a_module_is_never_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    module = tmp_path / "spring_sale.py"
    module.write_text(f'open({str(ran)!r}, "w")\nAGENT = "Be kind."\n', encoding="utf-8")

    campaign = read_file(module, NAMES)

    assert not ran.exists()
    assert (campaign.name, campaign.agent_text) == ("Spring Sale", "Be kind.")


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"AGENT = open('/etc/passwd').read()",
        b'AGENT = f"{1}"',
        b"AGENT = (",
        b"\0",
        b"(" * 5000,
        b"AGENT = " + b"-" * 50_000 + b"1",
        b"#" * (1024 * 1024 + 1),
    ],
)
def test_what_is_no_plain_string_is_refused(source: bytes) -> None:
    with pytest.raises(CampaignRefused, match="bad_module"):
        read_prompts(source, NAMES)


@pytest.mark.parametrize("text", ["- a", "name: [", "name: a\nnope: 1", "\x00"])
def test_a_file_that_is_no_campaign_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(text, encoding="utf-8")

    with pytest.raises(CampaignRefused):
        read_file(file, NAMES)


def test_a_file_has_its_name_for_a_key(tmp_path: Path) -> None:
    file = tmp_path / "spring.yaml"
    file.write_text("name: Spring Sale\npersonas: [{id: ann, weight: 3}]\n", encoding="utf-8")

    campaign = read_file(file, NAMES)

    assert (campaign.key, campaign.personas[0].weight) == ("spring", 3)
