"""Deepgram on loopback, a fake: /v1/listen (WebSocket) and /v1/speak (WebSocket, HTTP)."""

import json
from typing import Any

from aiohttp import WSMsgType, web

from tests.providers.service import RATE, Ear, FakeService, Fault, cut, hum


class FakeDeepgram(FakeService):
    """Understands one sentence, whatever is said, and speaks in one tone."""

    hz = 330.0

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/listen", self._listen),
            web.get("/v1/speak", self._speak),
            web.post("/v1/speak", self._speak_whole),
        ]

    def _results(self, text: str, *, final: bool) -> dict[str, Any]:
        words = [
            {"word": word, "start": 0.1 * at, "end": 0.1 * at + 0.1, "confidence": 0.9}
            for at, word in enumerate(text.split())
        ]
        return {
            "type": "Results",
            "metadata": {"request_id": "r"},
            "is_final": final,
            "speech_final": final,
            "channel": {"alternatives": [{"transcript": text, "confidence": 0.9, "words": words}]},
        }

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        seen = await self.taken(request)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        ear = Ear(int(request.query["sample_rate"]))
        async for message in ws:
            if message.type is WSMsgType.TEXT:
                seen.sent.append(json.loads(message.data))
                if seen.sent[-1]["type"] == "CloseStream":
                    break
                continue
            heard = ear.hear(message.data)
            if heard == "began":
                await ws.send_json({"type": "SpeechStarted"})
                await ws.send_json(self._results(self.text.split()[0], final=False))
                if self.fault is Fault.CUT:
                    cut(request)
                    break
            elif heard == "ended":
                await ws.send_json(self._results(self.text, final=True))
        return ws

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        seen = await self.taken(request)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            told = json.loads(message.data)
            seen.sent.append(told)
            if told["type"] == "Flush":
                if not any(one["type"] == "Speak" for one in seen.sent):
                    continue
                await ws.send_bytes(hum(0.5, hz=self.hz))
                if self.fault is Fault.CUT:
                    cut(request)
                    break
                await ws.send_bytes(hum(0.5, hz=self.hz))
                await ws.send_json({"type": "Flushed"})
            elif told["type"] == "Close":
                break
        return ws

    async def _speak_whole(self, request: web.Request) -> web.StreamResponse:
        await self.taken(request, body=await request.json())
        assert int(request.query["sample_rate"]) == RATE
        return await self.pcm(request, hum(1.0, hz=self.hz))
