"""Gemini Live on loopback, a fake: BidiGenerateContent over its WebSocket."""

import base64
import json

from aiohttp import web

from tests.providers.service import Ear, FakeService, Fault, cut, hum

LIVE = "/ws/google.ai.generativelanguage.{version}.GenerativeService.BidiGenerateContent"


class FakeGemini(FakeService):
    """Answers whoever speaks, or whatever it is asked, with one tone."""

    hz = 770.0
    answer = "We have a room with a view of the harbour."

    def routes(self) -> list[web.RouteDef]:
        return [web.get(LIVE, self._live)]

    async def _live(self, request: web.Request) -> web.StreamResponse:
        seen = await self.taken(request)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        ear = Ear()
        async for message in ws:
            told = json.loads(message.data)
            if "setup" in told:
                seen.sent.append(told)
                await ws.send_bytes(json.dumps({"setupComplete": {}}).encode())
                continue
            realtime = told.get("realtime_input", {})
            audio = (realtime.get("audio") or {}).get("data")
            if audio is None:
                seen.sent.append(told)
            asked = "client_content" in told or "text" in realtime
            if asked or (audio and ear.hear(base64.urlsafe_b64decode(audio)) == "ended"):
                await self._answer(request, ws)
        return ws

    async def _answer(self, request: web.Request, ws: web.WebSocketResponse) -> None:
        for at in range(4):
            piece = base64.b64encode(hum(0.25, hz=self.hz)).decode()
            part = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": piece}}
            content: dict[str, object] = {"modelTurn": {"parts": [part]}}
            if at == 0:
                content["outputTranscription"] = {"text": self.answer}
            await ws.send_bytes(json.dumps({"serverContent": content}).encode())
            if self.fault is Fault.CUT and at == 1:
                cut(request)
                return
        done = {"serverContent": {"generationComplete": True, "turnComplete": True}}
        await ws.send_bytes(json.dumps(done).encode())
