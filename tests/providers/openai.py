"""OpenAI and Azure OpenAI on loopback, a fake: chat (SSE), transcriptions, speech, realtime."""

import asyncio
import base64
import json
from typing import Any

from aiohttp import BodyPartReader, web

from tests.providers.service import Ear, FakeService, Fault, cut, hum

AZURE = "/openai/deployments/{deployment}"


class FakeOpenAI(FakeService):
    """Gives one answer, understands one sentence, speaks in one tone."""

    hz = 550.0
    answer = "We have a room with a view of the harbour."

    def routes(self) -> list[web.RouteDef]:
        both = ("/v1", AZURE)
        return [
            *(web.post(f"{base}/chat/completions", self._chat) for base in both),
            *(web.post(f"{base}/audio/transcriptions", self._transcribe) for base in both),
            *(web.post(f"{base}/audio/speech", self._speak) for base in both),
            web.get("/v1/realtime", self._realtime),
        ]

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        await self.taken(request, body=await request.json())
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        words = self.answer.split(" ")
        for at, word in enumerate(words):
            chunk = {
                "id": "c",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "m",
                "choices": [{"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None}],
            }
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
            if self.fault is Fault.CUT and at == len(words) // 2:
                cut(request)
                return response
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    async def _transcribe(self, request: web.Request) -> web.StreamResponse:
        form = {}
        async for part in await request.multipart():
            assert isinstance(part, BodyPartReader)
            form[part.name or ""] = await part.read()
        fields = {key: value.decode() for key, value in form.items() if key != "file"}
        await self.taken(request, body=fields)
        if self.fault is Fault.CUT:
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            response.content_length = 100
            await response.prepare(request)
            await response.write(b'{"text": "I wou')
            cut(request)
            return response
        return web.json_response({"text": self.text})

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        await self.taken(request, body=asked)
        if asked.get("stream_format") != "sse":
            return await self.pcm(request, hum(1.0, hz=self.hz))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for at in range(2):
            piece = base64.b64encode(hum(0.5, hz=self.hz)).decode()
            told = {"type": "speech.audio.delta", "audio": piece}
            await response.write(f"data: {json.dumps(told)}\n\n".encode())
            if self.fault is Fault.CUT and at == 0:
                cut(request)
                return response
        await response.write(b'data: {"type": "speech.audio.done", "usage": {}}\n\n')
        await response.write_eof()
        return response

    async def _realtime(self, request: web.Request) -> web.StreamResponse:
        seen = await self.taken(request)
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.send_json({"type": "session.created", "event_id": "e", "session": {}})
        ear, turns = Ear(24_000), 0
        async for message in ws:
            told = json.loads(message.data)
            if told["type"] != "input_audio_buffer.append":
                seen.sent.append(told)
            if told["type"] == "session.update":
                await ws.send_json({"type": "session.updated", "event_id": "e", "session": {}})
            elif told["type"] == "conversation.item.create":
                item = {"type": "conversation.item.added", "event_id": "e", "item": told["item"]}
                await ws.send_json(item | {"previous_item_id": told.get("previous_item_id")})
            elif told["type"] == "response.create":
                turns += 1
                metadata = told.get("response", {}).get("metadata") or {}
                await self._respond(request, ws, turns, metadata)
            elif told["type"] == "input_audio_buffer.append":
                heard = ear.hear(base64.b64decode(told["audio"]))
                if heard == "began":
                    started = {"type": "input_audio_buffer.speech_started", "event_id": "e"}
                    await ws.send_json(started | {"audio_start_ms": 0, "item_id": f"i{turns}"})
                elif heard == "ended":
                    stopped = {"type": "input_audio_buffer.speech_stopped", "event_id": "e"}
                    await ws.send_json(stopped | {"audio_end_ms": 1, "item_id": f"i{turns}"})
                    turns += 1
                    await self._respond(request, ws, turns, {})
        return ws

    async def _respond(
        self, request: web.Request, ws: web.WebSocketResponse, turn: int, metadata: dict[str, Any]
    ) -> None:
        response, item = f"resp_{turn}", f"item_{turn}"

        async def tell(kind: str, **more: Any) -> None:
            await ws.send_json({"type": kind, "event_id": "e", **more})

        def state(status: str) -> dict[str, Any]:
            return {
                "id": response,
                "object": "realtime.response",
                "status": status,
                "output": [],
                "metadata": metadata,
                "usage": None,
            }

        where = {"response_id": response, "item_id": item, "output_index": 0, "content_index": 0}
        message = {
            "id": item,
            "object": "realtime.item",
            "type": "message",
            "role": "assistant",
            "status": "in_progress",
            "content": [],
        }
        await tell("response.created", response=state("in_progress"))
        await tell("response.output_item.added", response_id=response, output_index=0, item=message)
        await tell("conversation.item.added", item=message, previous_item_id=None)
        await tell("response.content_part.added", **where, part={"type": "audio"})
        await tell("response.output_audio_transcript.delta", **where, delta=self.answer)
        for at in range(4):
            piece = base64.b64encode(hum(0.25, hz=self.hz)).decode()
            await tell("response.output_audio.delta", **where, delta=piece)
            if self.fault is Fault.CUT and at == 1:
                await asyncio.sleep(0)
                cut(request)
                return
        await tell("response.output_audio.done", **where)
        await tell("response.output_audio_transcript.done", **where, transcript=self.answer)
        await tell("response.content_part.done", **where, part={"type": "audio"})
        await tell(
            "response.output_item.done",
            response_id=response,
            output_index=0,
            item=message | {"status": "completed"},
        )
        await tell("response.done", response=state("completed"))
