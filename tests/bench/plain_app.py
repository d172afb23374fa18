"""What we compare with: the least Starlette app that verifies with LiveKit's own receiver."""

import os

from livekit.api import TokenVerifier, WebhookReceiver
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

receiver = WebhookReceiver(
    TokenVerifier(os.environ["LIVEKIT_API_KEY"], os.environ["LIVEKIT_API_SECRET"])
)


async def webhook(request: Request) -> Response:
    """Verify one delivery and do nothing."""
    content = await request.body()
    receiver.receive(content.decode(), request.headers["Authorization"])
    return Response()


app = Starlette(routes=[Route("/livekit-webhook", webhook, methods=["POST"])])
