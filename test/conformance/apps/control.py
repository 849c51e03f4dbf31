"""What a test may set while the node runs, and what the node writes down for it."""

import threading
import time
import uuid
from typing import Any

DEFAULTS: dict[str, Any] = {
    # The key that every request but those to /control and / has to bring.
    "key": "c3-key-of-the-tests",
    # Runs stay where they are until this is false again.
    "hold": False,
    # How long each run takes on top of its work.
    "seconds": 0.0,
    # {"how": "gr.Error" | "exception" | "text", "message": "…"}: how a run ends, and after how many good ones.
    "fail": None,
    "fail_after": 0,
    # Events that may wait in the queue of each function; null: any number.
    "queue_size": None,
    # The name, without its extension, of the files that a run makes.
    "file_name": None,
    # What the speech app makes: "mp3", "wav", or "none".
    "result": "mp3",
    # The result is repeated until it has so many bytes.
    "result_bytes": 0,
    # What WhisperX hears when it is told no language, and the words.
    "detected_language": "en",
    "transcript": None,
    # Whether WhisperX may load the gated model that tells speakers apart.
    "speaker_model": True,
    # {"contains": "file=", "status": 403, "times": 1}: answers in place of the application's.
    "refuse": None,
}

HELD_AT_MOST_SECONDS = 180


class Control:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._settings = dict(DEFAULTS)
        self._runs: list[dict[str, Any]] = []
        self._requests: list[dict[str, Any]] = []

    def get(self, name: str) -> Any:
        with self._changed:
            return self._settings[name]

    def change(self, settings: dict[str, Any]) -> None:
        unknown = settings.keys() - DEFAULTS.keys()
        if unknown:
            raise ValueError(f"no such settings: {sorted(unknown)}")
        with self._changed:
            self._settings.update(settings)
            self._changed.notify_all()

    def reset(self) -> None:
        with self._changed:
            self._settings = dict(DEFAULTS)
            self._runs = []
            self._requests = []
            self._changed.notify_all()

    def begin(self, app: str, arguments: dict[str, Any]) -> dict[str, Any]:
        run = {"id": str(uuid.uuid4()), "app": app, "arguments": arguments, "startedAt": time.time(), "items": []}
        with self._changed:
            self._runs.append(run)
        return run

    def end(self, run: dict[str, Any], error: str | None) -> None:
        with self._changed:
            run.update(finishedAt=time.time(), error=error)

    def runs(self) -> list[dict[str, Any]]:
        with self._changed:
            return [dict(run) for run in self._runs]

    def saw(self, request: dict[str, Any]) -> None:
        with self._changed:
            self._requests.append(request)

    def requests(self) -> list[dict[str, Any]]:
        with self._changed:
            return list(self._requests)

    def take_time(self) -> None:
        """Waits as long as the test wants the run to take."""
        with self._changed:
            seconds = self._settings["seconds"]
            self._changed.wait_for(lambda: not self._settings["hold"], HELD_AT_MOST_SECONDS)
        time.sleep(seconds)

    def take_failure(self) -> dict[str, str] | None:
        with self._changed:
            if self._settings["fail"] is None:
                return None
            if self._settings["fail_after"] > 0:
                self._settings["fail_after"] -= 1
                return None
            return self._settings["fail"]

    def take_refusal(self, path: str) -> int | None:
        with self._changed:
            refusal = self._settings["refuse"]
            if refusal is None or refusal["contains"] not in path or refusal["times"] <= 0:
                return None
            self._settings["refuse"] = {**refusal, "times": refusal["times"] - 1}
            return refusal["status"]
