"""The livekit-server binary takes the configuration that deploy/ ships."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from queue import Queue

import jwt
import pytest
import yaml

from router.demo.phone import Phone
from router.demo.processes import Child, answers, free_port

SHIPPED = Path(__file__).parents[2] / "deploy" / "livekit" / "livekit.yaml"
SECRET = "made-up-secret-of-more-than-32-bytes"


@pytest.fixture
def receiver() -> Iterator[tuple[int, Queue[tuple[str, bytes]]]]:
    """A port that takes webhooks, and the deliveries: authorization and body."""
    deliveries: Queue[tuple[str, bytes]] = Queue()

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name that http.server calls
            body = self.rfile.read(int(self.headers["Content-Length"]))
            deliveries.put((self.headers["Authorization"], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            del format, args

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port, deliveries
        server.shutdown()
        thread.join()


async def test_it_starts_and_signs_its_webhooks_with_the_key_of_the_environment(
    folder: Path, livekit_program: Path, receiver: tuple[int, Queue[tuple[str, bytes]]]
) -> None:
    receiver_port, deliveries = receiver
    config = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    config["port"] = free_port()
    config["bind_addresses"] = ["127.0.0.1"]
    config["rtc"] |= {
        "udp_port": free_port(socket.SOCK_DGRAM),
        "tcp_port": 0,
        "node_ip": "127.0.0.1",
        "enable_loopback_candidate": True,
    }
    del config["redis"]
    config["webhook"]["urls"] = [f"http://127.0.0.1:{receiver_port}/livekit-webhook"]
    (folder / "livekit.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    server = Child(
        "livekit-server",
        [livekit_program, "--config", folder / "livekit.yaml"],
        log_path=folder / "livekit-server.log",
        env={"LIVEKIT_KEYS": f"renamed: {SECRET}", "LIVEKIT_WEBHOOK_API_KEY": "renamed"},
    )
    try:
        await server.wait_until(lambda: answers(config["port"]), timeout_s=15, what="answer")
        url = f"ws://127.0.0.1:{config['port']}"

        async with Phone(url, "renamed", SECRET, dialed="+13125550101"):
            authorization, body = await asyncio.to_thread(deliveries.get, timeout=10)
    finally:
        server.kill()

    assert b'"event":"participant_joined"' in body.replace(b" ", b"")
    assert jwt.decode(authorization, SECRET, algorithms=["HS256"])["iss"] == "renamed"
