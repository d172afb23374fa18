"""ElevenLabs on loopback, a fake: multi-stream-input (WebSocket) and stream (HTTP)."""

import base64
import json

from aiohttp import web

from tests.providers.service import FakeService, Fault, cut, hum


class FakeElevenLabs(FakeService):
    """Speaks in one tone."""

    hz = 660.0

    def routes(self) -> list[web.RouteDef]:
        base = "/v1/text-to-speech/{voice}"
        return [
            web.get(f"{base}/multi-stream-input", self._speak),
            web.post(f"{base}/stream", self._speak_whole),
        ]

    async def _speak_whole(self, request: web.Request) -> web.StreamResponse:
        await self.taken(request, body=await request.json())
        return await self.pcm(request, hum(1.0, hz=self.hz))

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        seen = await self.taken(request)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            told = json.loads(message.data)
            seen.sent.append(told)
            context = told.get("context_id")
            if told.get("text", "").strip():
                audio = base64.b64encode(hum(0.5, hz=self.hz)).decode()
                await ws.send_json({"audio": audio, "contextId": context})
                if self.fault is Fault.CUT:
                    cut(request)
                    break
            if told.get("close_context"):
                await ws.send_json({"contextId": context, "isFinal": True})
        return ws
