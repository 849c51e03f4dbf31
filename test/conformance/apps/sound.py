"""Sound without a model: tones, and ffmpeg to write and to read them. FFMPEG in the environment says where it is."""

import os
import re
import subprocess
import zlib
from pathlib import Path

import numpy as np

RATE = 24_000


def hertz_of(text: str) -> int:
    """The pitch of a text: the same one for the same text."""
    return 220 + 20 * (zlib.crc32(text.encode()) % 64)


def tone(hertz: int, seconds: float) -> np.ndarray:
    at = np.arange(round(seconds * RATE))
    return (8000 * np.sin(2 * np.pi * hertz * at / RATE)).astype(np.int16)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.int16)


def write_sound(path: Path, sound: np.ndarray) -> None:
    """As MP3 or WAV, by the name; plain frames, so that a repeated MP3 is an MP3."""
    plain = ["-write_xing", "0", "-id3v2_version", "0", "-b:a", "64k", "-compression_level", "9"] if path.suffix == ".mp3" else []
    _ffmpeg(["-f", "s16le", "-ar", str(RATE), "-ac", "1", "-i", "pipe:0", *plain, "-y", str(path)], sound.tobytes())


def describe(path: str) -> dict[str, float]:
    """How long a recording is, and how many channels it has."""
    decoded = _ffmpeg(["-i", path, "-map", "0:a", "-f", "s16le", "-ar", "8000", "-ac", "1", "pipe:1"])
    # It complains that there is nothing to do, and lists what it found.
    look = [os.environ["FFMPEG"], "-hide_banner", "-i", path]
    heard = subprocess.run(look, check=False, capture_output=True).stderr.decode()
    layout = re.search(r"Audio: .*? Hz, (\w+)", heard)
    channels = {"mono": 1, "stereo": 2}.get(layout[1] if layout else "", 0)
    return {"seconds": len(decoded) / 2 / 8000, "channels": channels, "bytes": os.path.getsize(path)}


def _ffmpeg(arguments: list[str], sound: bytes | None = None) -> bytes:
    command = [os.environ["FFMPEG"], "-v", "error", *arguments]
    return subprocess.run(command, input=sound, capture_output=True, check=True).stdout
