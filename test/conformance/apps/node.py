"""
A node: the speech and the transcription application, each a real Gradio application under its path, behind the key.
Usage: node.py PORT. Ends with its standard input, so that it never outlives who started it.
"""

import asyncio
import os
import sys
import threading
from typing import Any

import csm
import gradio as gr
import uvicorn
import whisper
from control import Control
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse

control = Control()
apps = {"/csm": csm.build(control), "/whisper": whisper.build(control)}
# As behind a proxy that cuts the path off and says nothing of it: the application takes the root for its own place.
hidden = csm.build(control)
HIDDEN = "/behind-proxy/csm"

# As `launch()` does by default: an exception that is no gr.Error is told without its words.
behind_proxy = gr.mount_gradio_app(FastAPI(), hidden, path="/", show_error=False)
routes = FastAPI(lifespan=lambda _: behind_proxy.router.lifespan_context(behind_proxy))
streams: set[asyncio.Event] = set()


@routes.get("/")
def healthy() -> PlainTextResponse:
    return PlainTextResponse("ok")


@routes.post("/control/settings")
async def change(request: Request) -> JSONResponse:
    control.change(await request.json())
    for blocks in [*apps.values(), hidden]:
        blocks._queue.max_size = control.get("queue_size")
    return JSONResponse({})


@routes.post("/control/reset")
def reset() -> JSONResponse:
    control.reset()
    for blocks in [*apps.values(), hidden]:
        blocks._queue.max_size = None
    return JSONResponse({})


@routes.get("/control/runs")
def runs() -> JSONResponse:
    return JSONResponse(control.runs())


@routes.get("/control/requests")
def requests() -> JSONResponse:
    return JSONResponse(control.requests())


@routes.post("/control/drop-streams")
async def drop_streams() -> JSONResponse:
    for stream in streams:
        stream.set()
    return JSONResponse({"dropped": len(streams)})


for path, blocks in apps.items():
    routes = gr.mount_gradio_app(routes, blocks, path=path, show_error=False)


async def node(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The proxy in front of the applications."""
    if scope["type"] != "http":
        await routes(scope, receive, send)
        return
    path, headers = scope["path"], dict(scope["headers"])
    inner = routes
    if path != "/" and not path.startswith("/control/"):
        refusal = refusal_of(path, headers)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
    if path.startswith(HIDDEN):
        inner = behind_proxy
        scope = {**scope, "path": path[len(HIDDEN) :] or "/", "raw_path": scope["raw_path"][len(HIDDEN) :] or b"/"}
    if "/queue/data" in path:
        await droppable(inner, scope, receive, send)
    elif "file=" in path or path.endswith("/queue/join"):
        await inner(scope, receive, noted(path, headers, send))
    else:
        await inner(scope, receive, send)


def refusal_of(path: str, headers: dict[bytes, bytes]) -> Any:
    if headers.get(b"x-c3-api-key", b"").decode() != control.get("key"):
        return JSONResponse({"error": "Unauthorized"}, 401)
    status = control.take_refusal(path)
    if status is None:
        return None
    page = f"<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>"
    return HTMLResponse(page, status)


async def droppable(inner: Any, scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An event stream that is cut, without its end, when the test says so."""
    dropped = asyncio.Event()
    streams.add(dropped)
    served = asyncio.ensure_future(inner(scope, receive, send))
    waiting = asyncio.ensure_future(dropped.wait())
    try:
        await asyncio.wait([served, waiting], return_when=asyncio.FIRST_COMPLETED)
        if dropped.is_set():
            raise ConnectionResetError("the test dropped the stream")
        await served
    finally:
        streams.discard(dropped)
        served.cancel()
        waiting.cancel()


def noted(path: str, headers: dict[bytes, bytes], send: Any) -> Any:
    """Writes down how a file was asked for, or a call was made, and how it went."""

    async def observe(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer = dict(message["headers"])
            control.saw(
                {
                    "path": path,
                    "acceptEncoding": headers.get(b"accept-encoding", b"").decode(),
                    "status": message["status"],
                    "contentEncoding": answer.get(b"content-encoding", b"").decode(),
                }
            )
        await send(message)

    return observe


def end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_input, daemon=True).start()
    uvicorn.run(node, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
