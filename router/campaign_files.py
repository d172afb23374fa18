"""Campaigns that lie in files: `CAMPAIGNS_DIR/*.yaml`, and one prompt module."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from router.campaigns.model import MAX_TEXT_CHARS, Campaign, read_campaign
from router.campaigns.prompts import read_prompts
from router.errors import CampaignRefused
from router.settings import RouterSettings

MAX_FILE_BYTES = 4 * MAX_TEXT_CHARS


@dataclass(frozen=True, slots=True)
class Unread:
    """A file that is no campaign, and why."""

    file: str
    why: str


def read_files(settings: RouterSettings) -> tuple[list[Campaign], list[Unread]]:
    """Read every campaign file that the settings name, as they are now."""
    found: dict[str, Campaign] = {}
    unread: list[Unread] = []
    names = (settings.campaign_agent_name, settings.campaign_session_name)
    for file in _files(settings):
        try:
            campaign = read_file(file, names)
        except CampaignRefused as exc:
            unread.append(Unread(file.name, exc.fix))
            continue
        if campaign.key in found:
            unread.append(Unread(file.name, f"another file has the key {campaign.key}"))
        else:
            found[campaign.key] = campaign
    return list(found.values()), unread


def read_file(file: Path, names: tuple[str, str]) -> Campaign:
    """Read one campaign: YAML, or a Python module whose constants *names* are its prompts.

    Raises:
        CampaignRefused: the file cannot be read, or is none.
    """
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_FILE_BYTES + 1)
    except OSError as exc:
        raise CampaignRefused("unreadable", fix=f"cannot read it: {exc.strerror}") from None
    return read_bytes(file.name, raw, names)


def read_bytes(name: str, raw: bytes, names: tuple[str, str]) -> Campaign:
    """Read the content of a campaign file called *name*, as ``read_file`` does."""
    file = Path(name)
    if len(raw) > MAX_FILE_BYTES:
        raise CampaignRefused("too_large", fix=f"{MAX_FILE_BYTES // 1024} KiB at most")
    if file.suffix == ".py":
        agent_text, session_text = read_prompts(raw, names)
        return read_campaign(
            {
                "name": file.stem.replace("_", " ").strip().title() or file.stem,
                "module": file.stem,
                "agent_text": agent_text,
                "session_text": session_text,
            }
        )
    return read_campaign(_document(raw, file.stem))


def _document(raw: bytes, stem: str) -> Any:
    try:
        document = yaml.safe_load(raw)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise CampaignRefused("not_yaml", fix=f"it is not YAML{where}") from None
    return {"key": stem.lower(), **document} if isinstance(document, dict) else document


def _files(settings: RouterSettings) -> Iterator[Path]:
    if settings.campaigns_dir is not None:
        yield from sorted(settings.campaigns_dir.glob("*.yaml"))
    if settings.campaign_prompt_module:
        yield module_file(settings.campaign_prompt_module)


def module_file(module: str) -> Path:
    """Give the file of a module, named by its path or with dots: ``prompts.spring``."""
    if module.endswith(".py"):
        return Path(module)
    return Path(*module.split(".")).with_suffix(".py")
