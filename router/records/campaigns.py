"""The campaigns of each tenant: those made here, beside those in files and the default."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import sqlalchemy as sa

from router.campaigns.model import DEFAULT, Campaign, read_campaign
from router.db import Store, metadata
from router.errors import CampaignRefused
from router.principals import DEFAULT_TENANT

_READ_ONLY: Final = "it comes from a file or with the router; duplicate it and change the copy"

campaigns = sa.Table(
    "campaigns",
    metadata,
    sa.Column("tenant", sa.String(64), primary_key=True),
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("changed_at", sa.Float, nullable=False),
    sa.Column("archived_at", sa.Float),
)


@dataclass(frozen=True, slots=True)
class KnownCampaign:
    """A campaign, and where it is."""

    campaign: Campaign
    origin: Literal["builtin", "file", "made"]
    changed_at: float | None = None  # Unix seconds
    archived: bool = False


class Campaigns:
    """All of them. *files* reads those in files; *clock* gives Unix seconds."""

    def __init__(
        self, store: Store, *, clock: Callable[[], float], files: Callable[[], Sequence[Campaign]]
    ) -> None:
        self._store = store
        self._clock = clock
        self._files = files

    async def list(self, tenant: str) -> Sequence[KnownCampaign]:
        """List what a tenant can call with, the archived ones last."""
        query = sa.select(campaigns).where(campaigns.c.tenant == tenant).order_by(campaigns.c.key)
        rows = await self._store.read(lambda c: c.execute(query).all())
        made = [_known(row) for row in rows]
        fixed = await self._fixed(tenant)
        return [*fixed, *sorted(made, key=lambda one: one.archived)]

    async def find(self, tenant: str, key: str) -> KnownCampaign | None:
        """Find one by its key."""
        listed = await self.list(tenant)
        return next((one for one in listed if one.campaign.key == key), None)

    async def add(self, tenant: str, campaign: Campaign) -> KnownCampaign:
        """Keep a new campaign.

        Raises:
            CampaignRefused: ``key_taken``.
        """
        taken = CampaignRefused(
            "key_taken", fix=f"there is a campaign {campaign.key}; name another"
        )
        if any(one.campaign.key == campaign.key for one in await self._fixed(tenant)):
            raise taken
        row = {"tenant": tenant, "key": campaign.key, **self._values(campaign)}
        same = (campaigns.c.tenant == tenant) & (campaigns.c.key == campaign.key)

        def insert(connection: sa.Connection) -> bool:
            is_new = connection.scalar(sa.select(campaigns.c.key).where(same)) is None
            if is_new:
                connection.execute(sa.insert(campaigns), row)
            return is_new

        if not await self._store.write(insert):
            raise taken
        return KnownCampaign(campaign, "made", row["changed_at"])

    async def change(self, tenant: str, key: str, changes: dict[str, Any]) -> KnownCampaign | None:
        """Change what is given, in one step; None: there is no such campaign.

        Raises:
            CampaignRefused: ``invalid`` or ``read_only``.
        """
        if any(one.campaign.key == key for one in await self._fixed(tenant)):
            raise CampaignRefused("read_only", fix=_READ_ONLY)
        same = (campaigns.c.tenant == tenant) & (campaigns.c.key == key)

        def change(connection: sa.Connection) -> KnownCampaign | CampaignRefused | None:
            row = connection.execute(sa.select(campaigns).where(same).with_for_update()).first()
            if row is None:
                return None
            before = _known(row)
            try:
                campaign = read_campaign(
                    {**before.campaign.model_dump(mode="json"), **changes, "key": key}
                )
            except CampaignRefused as exc:
                return exc
            values = self._values(campaign)
            connection.execute(sa.update(campaigns).where(same).values(values))
            return KnownCampaign(campaign, "made", values["changed_at"], before.archived)

        answer = await self._store.write(change)
        if isinstance(answer, CampaignRefused):
            raise answer
        return answer

    async def archive(self, tenant: str, key: str, *, archived: bool) -> bool:
        """Put a campaign away, or take it out again; False: there is no such campaign."""
        same = (campaigns.c.tenant == tenant) & (campaigns.c.key == key)
        put = sa.update(campaigns).where(same)
        put = put.values(archived_at=self._clock() if archived else None)
        return await self._store.write(lambda c: c.execute(put).rowcount) == 1

    def _values(self, campaign: Campaign) -> dict[str, Any]:
        return {"document": campaign.model_dump_json(), "changed_at": self._clock()}

    async def _fixed(self, tenant: str) -> Sequence[KnownCampaign]:
        """Return those that nobody made: files belong to who runs the router."""
        in_files: Sequence[Campaign] = ()
        if tenant == DEFAULT_TENANT:
            in_files = await asyncio.to_thread(self._files)
        builtin = [] if any(one.key == DEFAULT.key for one in in_files) else [DEFAULT]
        return [
            *(KnownCampaign(one, "builtin") for one in builtin),
            *(KnownCampaign(one, "file") for one in in_files),
        ]


def _known(row: sa.Row[Any]) -> KnownCampaign:
    campaign = Campaign.model_validate_json(row.document)
    return KnownCampaign(campaign, "made", row.changed_at, row.archived_at is not None)
