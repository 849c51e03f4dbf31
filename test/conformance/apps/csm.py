"""
The public interface of the CSM speech application: its functions, their parameters in their order, its states and its
failures. A text is a tone that is as long as its words would be. The window of the model is kept, for everything
said so far is context of what comes next.
"""

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import sound
from control import Control

VOICES = ["random_voice", "conversational_a", "conversational_b", "upload_voice"]
SPEAKERS = 10
FRAME_MS = 80
WINDOW_FRAMES = 2048
CHARACTERS_PER_SECOND = 14
CHARACTERS_PER_TOKEN = 4
# The recordings that come with the model.
BUILT_IN_SECONDS = 28
BUILT_IN_CHARACTERS = 350


def build(control: Control) -> gr.Blocks:
    def speak(run: dict[str, Any], speakers: list[tuple], texts: list[tuple[int, str]], options: tuple) -> str | None:
        _temperature, _topk, max_audio_length, pause_duration = options
        context = sum(prompt_tokens(run, *speaker) for speaker in speakers)
        parts: list[np.ndarray] = []
        for speaker, text in texts:
            context += generate(run, parts, speaker, text, context, max_audio_length)
            parts.append(sound.silence(pause_duration / 1000))
        control.take_time()
        return result_of(parts[:-1])

    def generate(run: dict, parts: list, speaker: int, text: str, context: int, max_audio_length: float) -> int:
        """Appends the sound of a text, and returns what it adds to the context."""
        longest = int(max_audio_length / FRAME_MS)
        tokens = math.ceil(len(text) / CHARACTERS_PER_TOKEN) + 1
        room = WINDOW_FRAMES - longest
        if context + tokens >= room:
            raise ValueError(f"Inputs too long, must be below max_seq_len - max_generation_len: {room}")
        frames = min(longest, math.ceil(len(text) / CHARACTERS_PER_SECOND * 1000 / FRAME_MS))
        seconds = frames * FRAME_MS / 1000
        hertz = sound.hertz_of(text)
        parts.append(sound.tone(hertz, seconds))
        run["items"].append(
            {"speaker": speaker, "text": text, "hertz": hertz, "seconds": seconds, "context": context + tokens}
        )
        return tokens + frames

    def prompt_tokens(run: dict, _speaker: int, voice: str, text: str, recording: str | None) -> int:
        if voice == "random_voice" or (voice == "upload_voice" and not recording):
            return 0
        seconds, characters = float(BUILT_IN_SECONDS), BUILT_IN_CHARACTERS
        if voice == "upload_voice":
            run["reference"] = sound.describe(recording or "")
            seconds, characters = run["reference"]["seconds"], len(text)
        return math.ceil(seconds * 1000 / FRAME_MS) + math.ceil(characters / CHARACTERS_PER_TOKEN) + 1

    def result_of(parts: list[np.ndarray]) -> str | None:
        kind = control.get("result")
        if kind == "none":
            return None
        name = control.get("file_name") or "speech"
        path = Path(tempfile.mkdtemp()) / f"{name}.{kind}"
        sound.write_sound(path, np.concatenate(parts) if parts else sound.silence(0))
        wanted = control.get("result_bytes")
        if wanted > path.stat().st_size:
            once = path.read_bytes()
            path.write_bytes(once * math.ceil(wanted / len(once)))
        return str(path)

    def answer(arguments: dict[str, Any], texts_of: Any, speakers_of: Any, options: tuple) -> str | None:
        run = control.begin("csm", arguments)
        failure = control.take_failure()
        error: str | None = "the run was given up"
        try:
            if failure is not None:
                control.take_time()
            if failure is not None and failure["how"] == "exception":
                # Beyond the application's own care, as a failure to write its answer is.
                raise RuntimeError(failure["message"])
            try:
                if failure is not None:
                    raise ValueError(failure["message"])
                made = speak(run, speakers_of(), texts_of(), options)
            except Exception as problem:
                raise gr.Error(f"Generation failed: {problem}") from problem
            error = None
            return made
        except Exception as problem:
            error = str(problem)
            raise
        finally:
            control.end(run, error)

    def process_monologue(
        speaker_voice, speaker_text, speaker_audio, monologue_json, temperature, topk, max_audio_length, pause_duration
    ):
        arguments = {
            "speaker_voice": speaker_voice,
            "speaker_text": speaker_text,
            "speaker_audio": speaker_audio,
            "monologue_json": monologue_json,
            "temperature": temperature,
            "topk": topk,
            "max_audio_length": max_audio_length,
            "pause_duration": pause_duration,
        }

        def texts() -> list[tuple[int, str]]:
            monologue = json.loads(monologue_json)
            if not isinstance(monologue, list):
                raise ValueError("Invalid JSON format")
            return [(0, text) for text in monologue]

        speaker = (0, speaker_voice, speaker_text, speaker_audio)
        return answer(arguments, texts, lambda: [speaker], (temperature, topk, max_audio_length, pause_duration))

    def process_conversation(*arguments):
        visible, *voices = arguments[:-5]
        pause_duration, conversation_json, temperature, topk, max_audio_length = arguments[-5:]

        def texts() -> list[tuple[int, str]]:
            conversation = json.loads(conversation_json)
            if not isinstance(conversation, list):
                raise ValueError("Invalid JSON format")
            return [(int(item["speaker_id"]), item["text"]) for item in conversation]

        def speakers() -> list[tuple]:
            return [(index, *voices[3 * index : 3 * index + 3]) for index in visible]

        named = {"visible_speakers": visible, "conversation_json": conversation_json, "speakers": speakers()}
        return answer(named, texts, speakers, (temperature, topk, max_audio_length, pause_duration))

    def sliders() -> tuple:
        return (
            gr.Slider(minimum=0.1, maximum=2.0, value=0.9, step=0.1, label="Temperature"),
            gr.Slider(minimum=1, maximum=100, value=50, step=1, label="Top-k"),
            gr.Slider(minimum=1000, maximum=30000, value=10000, step=1000, label="Max Audio Length (ms)"),
            gr.Slider(minimum=0, maximum=1000, value=150, step=10, label="Pause Between Utterances (ms)"),
        )

    def speaker_fields(name: str, voice: str) -> list:
        return [
            gr.Dropdown(choices=VOICES, value=voice, label=f"{name} Voice"),
            gr.Textbox(label=f"{name} Reference Text", lines=2),
            gr.Audio(label=f"{name} Reference Audio", type="filepath"),
        ]

    with gr.Blocks() as app:
        with gr.Tab("Conversation"):
            # Kept for each session: it makes clients hold a heartbeat stream open.
            visible_speakers = gr.State(list(range(3)))
            built_in = {0: "conversational_a", 1: "conversational_b"}
            fields = [speaker_fields(f"Speaker {i}", built_in.get(i, "random_voice")) for i in range(SPEAKERS)]
            conversation = gr.TextArea(value='[{"speaker_id": 0, "text": "Hello."}]', label="Conversation")
            temperature, topk, max_audio_length, pause = sliders()
            gr.Button("Generate Conversation").click(
                process_conversation,
                inputs=[
                    visible_speakers,
                    *(field for speaker in fields for field in speaker),
                    *(pause, conversation, temperature, topk, max_audio_length),
                ],
                outputs=[gr.Audio(label="Generated MP3", type="filepath")],
                api_name="generate_conversation_audio",
            )
        with gr.Tab("Monologue"):
            speaker = speaker_fields("Speaker", "conversational_a")
            monologue = gr.TextArea(value='["Hello."]', label="Monologue")
            options = sliders()
            gr.Button("Generate Monologue").click(
                process_monologue,
                inputs=[*speaker, monologue, *options],
                outputs=[gr.Audio(label="Generated MP3", type="filepath")],
                api_name="generate_monologue_audio",
            )
    return app.queue()
