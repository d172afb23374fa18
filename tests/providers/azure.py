"""Azure Speech on loopback, a fake: text to speech by POST, speech to text over its WebSocket."""

import json
from typing import Any
from xml.etree import ElementTree as ET

from aiohttp import WSMsgType, web

from tests.providers.service import Ear, FakeService, Fault, cut, hum

HEARS = "/speech/recognition/conversation/cognitiveservices/v1"
SPEAKS = "/cognitiveservices/v1"
_NAMES = "{http://www.w3.org/2001/10/synthesis}"


class FakeAzure(FakeService):
    """Refuses SSML that is not well formed, as Azure does."""

    hz = 440.0

    def routes(self) -> list[web.RouteDef]:
        return [web.get(HEARS, self._listen), web.post(SPEAKS, self._speak)]

    @property
    def host(self) -> str:
        """AZURE_SPEECH_HOST."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> str:
        """AZURE_SPEECH_ENDPOINT."""
        return f"{self.url}{SPEAKS}"

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        ssml = await request.text()
        await self.taken(request, body=ssml)
        try:
            root = ET.fromstring(ssml)  # noqa: S314 - made by the plugin under test
        except ET.ParseError:
            raise web.HTTPBadRequest(text="not well-formed") from None
        voice = root.find(f"{_NAMES}voice")
        assert voice is not None
        self.requests[-1].sent.append((voice.attrib["name"], "".join(voice.itertext())))
        return await self.pcm(request, hum(1.0, hz=self.hz))

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        seen = await self.taken(request)
        ws = web.WebSocketResponse(protocols=("USP",))
        await ws.prepare(request)
        ear, turn = Ear(), ""

        async def tell(path: str, told: dict[str, Any]) -> None:
            head = f"X-RequestId:{turn}\r\nPath:{path}\r\nContent-Type:application/json\r\n\r\n"
            await ws.send_str(head + json.dumps(told))

        async for message in ws:
            if message.type is not WSMsgType.BINARY:
                seen.sent.append(message.data)
                continue
            heads, audio = _opened(message.data)
            if turn != heads["X-RequestId"]:
                turn = heads["X-RequestId"]
                await tell("turn.start", {"context": {"serviceTag": "t"}})
            if audio[:4] == b"RIFF":  # the header alone comes first
                continue
            heard = ear.hear(audio)
            where = {"Offset": 0, "Duration": 5_000_000}
            if heard == "began":
                await tell("speech.startDetected", {"Offset": 0})
                await tell("speech.hypothesis", {"Text": self.text.split()[0], **where})
                if self.fault is Fault.CUT:
                    cut(request)
                    break
            elif heard == "ended":
                phrase = {"RecognitionStatus": "Success", "DisplayText": self.text, **where}
                await tell("speech.phrase", phrase)
                await tell("speech.endDetected", {"Offset": 5_000_000})
            elif not audio:
                await tell("turn.end", {})
        return ws


def _opened(message: bytes) -> tuple[dict[str, str], bytes]:
    """Take a binary message apart: the length of its heads in two bytes, heads, audio."""
    size = 2 + int.from_bytes(message[:2], "big")
    lines = message[2:size].decode().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return {name: value.strip() for name, _, value in pairs}, message[size:]
