"""
The public interface of the WhisperX application: one function with all of its parameters, five files and a transcript,
and failures that look like successes. What is heard says only how long the recording is.
"""

import inspect
import json
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr
import sound
from control import Control

LANGUAGES = sorted(
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml "
    "cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am "
    "yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue".split()
)
# The others have no model that finds the time of each word.
ALIGNED = set(
    "en fr de es it ja zh nl uk pt ar cs ru pl hu fi fa el tr da he vi ko ur te hi ca ml no nn sk sl hr ro eu gl ka lv "
    "tl sv id".split()
)
SENTENCE_SECONDS = 2.0
# So many that each of the files is long enough to be compressed on its way.
MINIMUM_SENTENCES = 20


def build(control: Control) -> gr.Blocks:
    def transcribe_audio(
        input_file,
        model,
        task,
        language,
        device,
        compute_type,
        batch_size,
        align_model,
        no_align,
        interpolate_method,
        return_char_alignments,
        vad_method,
        vad_onset,
        vad_offset,
        chunk_size,
        diarize,
        min_speakers,
        max_speakers,
        temperature,
        best_of,
        beam_size,
        patience,
        length_penalty,
        suppress_tokens,
        suppress_numerals,
        condition_on_previous_text,
        initial_prompt,
        word_timestamps,
        highlight_words,
        max_line_width,
        max_line_count,
        segment_resolution,
        repetition_penalty,
        compression_ratio_threshold,
        log_prob_threshold,
        no_speech_threshold,
        hotwords,
    ):
        given = locals()
        arguments = {name: given[name] for name in inspect.signature(transcribe_audio).parameters}
        run = control.begin("whisper", arguments)
        failure = control.take_failure()
        error: str | None = "the run was given up"
        try:
            control.take_time()
            if failure is not None and failure["how"] == "exception":
                raise RuntimeError(failure["message"])
            if failure is not None and failure["how"] == "gr.Error":
                raise gr.Error(failure["message"])
            try:
                if failure is not None:
                    raise ValueError(failure["message"])
                made = transcribe(run, arguments)
            except Exception as problem:
                error = str(problem)
                return f"Error: {problem}", []
            error = None
            return made
        except Exception as problem:
            error = str(problem)
            raise
        finally:
            control.end(run, error)

    def transcribe(run: dict[str, Any], arguments: dict[str, Any]) -> tuple[str, list[str]]:
        run["recording"] = sound.describe(arguments["input_file"])
        language = arguments["language"]
        if language and language not in LANGUAGES:
            accepted = ", ".join(LANGUAGES)
            raise ValueError(f"'{language}' is not a valid language code (accepted language codes: {accepted})")
        heard = language or control.get("detected_language")
        if not arguments["no_align"] and not (arguments["align_model"] or "").strip() and heard not in ALIGNED:
            raise ValueError(f"No default align-model for language: {heard}")
        if arguments["diarize"] and not control.get("speaker_model"):
            raise ValueError("'NoneType' object has no attribute 'to'")
        segments = segments_of(run["recording"]["seconds"], arguments, control.get("transcript"))
        return write(segments, heard, arguments["diarize"], control.get("file_name") or "transcript_1")

    with gr.Blocks() as app:
        inputs = fields()
        gr.Button("Transcribe", variant="primary").click(
            transcribe_audio,
            inputs=inputs,
            outputs=[
                gr.Textbox(label="Transcript", lines=20),
                gr.File(label="Download Transcription Files", file_count="multiple"),
            ],
        )
    return app.queue()


def fields() -> list:
    def number(value: float, minimum: float, maximum: float, step: float, label: str):
        return gr.Number(value=value, minimum=minimum, maximum=maximum, step=step, label=label)

    def choice(value: str, choices: list[str], label: str):
        return gr.Dropdown(choices=choices, value=value, label=label)

    return [
        gr.File(),
        choice("large-v2", ["tiny", "base", "small", "medium", "large", "large-v2", "large-v3"], "Whisper Model"),
        choice("transcribe", ["transcribe", "translate"], "Task"),
        gr.Textbox(value="en", label="Language Code"),
        choice("cuda", ["cuda", "cpu"], "Device"),
        choice("float16", ["float16", "float32", "int8"], "Compute Type"),
        number(16, 1, 64, 1, "Batch Size"),
        gr.Textbox(value="", label="Alignment Model Name"),
        gr.Checkbox(value=False, label="Skip Alignment"),
        choice("nearest", ["nearest", "linear", "ignore"], "Interpolation Method"),
        gr.Checkbox(value=False, label="Return Character Alignments"),
        choice("pyannote", ["pyannote", "silero"], "VAD Method"),
        number(0.5, 0, 1, 0.001, "VAD Onset"),
        number(0.363, 0, 1, 0.001, "VAD Offset"),
        number(30, 1, 120, 1, "Chunk Size (s)"),
        gr.Checkbox(value=False, label="Enable Speaker Diarization"),
        gr.Textbox(value="", label="Min Speakers"),
        gr.Textbox(value="", label="Max Speakers"),
        number(0, 0, 2, 0.1, "Temperature"),
        number(5, 1, 10, 1, "Best of"),
        number(5, 1, 10, 1, "Beam Size"),
        number(1, 0, 5, 0.1, "Patience"),
        number(1, 0, 5, 0.1, "Length Penalty"),
        gr.Textbox(value="-1", label="Suppress Tokens"),
        gr.Checkbox(value=False, label="Suppress Numerals"),
        gr.Checkbox(value=True, label="Condition on Previous Text"),
        gr.Textbox(value="", label="Initial Prompt"),
        gr.Checkbox(value=True, visible=False),
        gr.Checkbox(value=False, label="Highlight Words"),
        gr.Textbox(value="", label="Max Line Width"),
        gr.Textbox(value="", label="Max Line Count"),
        choice("sentence", ["sentence", "chunk"], "Segment Resolution"),
        number(1, 0, 5, 0.1, "Repetition Penalty"),
        number(2.4, 0, 10, 0.1, "Compression Ratio Threshold"),
        number(-1, -10, 0, 0.1, "Log Probability Threshold"),
        number(0.6, 0, 1, 0.01, "No Speech Threshold"),
        gr.Textbox(value="", label="Hotwords"),
    ]


def segments_of(seconds: float, arguments: dict[str, Any], transcript: str | None) -> list[dict[str, Any]]:
    count = max(MINIMUM_SENTENCES, round(seconds / SENTENCE_SECONDS))
    about = "translated" if arguments["task"] == "translate" else "heard"
    opening = [f"A recording of {seconds:.1f} seconds, {about}."]
    sentences = (
        [transcript]
        if transcript is not None
        else opening + [f"Sentence number {i} of what was {about}." for i in range(2, count + 1)]
    )
    length = seconds / len(sentences)
    segments = []
    for index, text in enumerate(sentences):
        segment: dict[str, Any] = {"start": index * length, "end": (index + 1) * length, "text": f" {text}"}
        if not arguments["no_align"]:
            segment["words"] = [{"word": word, "score": 0.9} for word in text.split()]
        if arguments["diarize"]:
            segment["speaker"] = f"SPEAKER_{index % 2:02d}"
        segments.append(segment)
    return segments


def write(segments: list[dict[str, Any]], language: str, diarize: bool, name: str) -> tuple[str, list[str]]:
    folder = Path(tempfile.mkdtemp())

    def spoken(segment: dict[str, Any]) -> str:
        return f"[{segment['speaker']}]: {segment['text'].strip()}" if diarize else segment["text"].strip()

    def times(separator: str, always_hours: bool):
        for number, segment in enumerate(segments, start=1):
            start, end = (clock(segment[edge], separator, always_hours) for edge in ("start", "end"))
            yield number, f"{start} --> {end}\n{spoken(segment)}\n\n"

    transcript = "".join(f"{spoken(segment)}\n" for segment in segments)
    paragraphs = "\n".join(f"<p>{spoken(segment)}</p>" for segment in segments)
    contents = {
        "json": json.dumps({"segments": segments, "language": language}, ensure_ascii=False, indent=2),
        "txt": transcript,
        "srt": "".join(f"{number}\n{text}" for number, text in times(",", True)),
        "vtt": "WEBVTT\n\n" + "".join(text for _, text in times(".", False)),
        "html": f"<html><body>{paragraphs}</body></html>",
    }
    paths = []
    for extension, content in contents.items():
        path = folder / f"{name}.{extension}"
        path.write_text(content, encoding="utf-8")
        paths.append(str(path))
    return transcript, paths


def clock(seconds: float, separator: str, always_hours: bool) -> str:
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    whole = f"{minutes:02d}:{rest // 1000:02d}{separator}{rest % 1000:03d}"
    return f"{hours:02d}:{whole}" if always_hours or hours > 0 else whole
