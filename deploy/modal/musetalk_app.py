"""Lip-sync for c3-render: MuseTalk (github.com/TMElyralab/MuseTalk) as a function on Modal.

docs/modal.md has the contract, and what has to be set up. In short:

    modal run deploy/modal/musetalk_app.py::download_weights    # once
    modal deploy deploy/modal/musetalk_app.py
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import modal

REPOSITORY = "https://github.com/TMElyralab/MuseTalk"
REVISION = "0a89dec45a0192b824e3cf4daf96c239440c5ed8"
MUSETALK = Path("/musetalk")
OUTPUTS = Path("/outputs")
TORCH_HOME = "models/torch"
WHEELS = "https://download.pytorch.org"
FACE_DETECTOR = "https://www.adrianbulat.com/downloads/python-fan/s3fd-619a316812.pth"
UNETS = {"v15": "models/musetalkV15/unet.pth", "v1": "models/musetalk/pytorch_model.bin"}

MIB = 1024 * 1024
MAX_FACE_BYTES = 500 * MIB
MAX_SOUND_BYTES = 200 * MIB
DOWNLOAD_SECONDS = 300
MAX_RETURNED_BYTES = 64 * MIB
LINK_SECONDS = 3600
FPS = 25  # What MuseTalk was trained with.
STILL_SECONDS = 1.0  # MuseTalk repeats the frames that it is given until the sound ends.
MAX_SIDE = 1280
RESULT = "result.mp4"

# The order and the versions are those of MuseTalk's README.
image = (
    modal.Image.debian_slim(python_version="3.10")
    .apt_install("ffmpeg", "git", "curl", "libgl1", "libglib2.0-0")
    .run_commands(f"git clone {REPOSITORY} {MUSETALK} && git -C {MUSETALK} checkout {REVISION}")
    .pip_install("torch==2.0.1", "torchvision==0.15.2", "torchaudio==2.0.2", index_url=f"{WHEELS}/whl/cu118")
    .run_commands(f"pip install -r {MUSETALK}/requirements.txt")
    .pip_install("setuptools<81", "wheel", "mmengine", "boto3")
    .pip_install("mmcv==2.0.1", find_links="https://download.openmmlab.com/mmcv/dist/cu118/torch2.0.0/index.html")
    .pip_install("chumpy==0.70", extra_options="--no-build-isolation")  # Of mmpose; its setup imports pip.
    .pip_install("mmdet==3.1.0", "mmpose==1.1.0")
    .env({"TORCH_HOME": f"{MUSETALK}/{TORCH_HOME}"})
)
app = modal.App("musetalk", image=image)
weights = modal.Volume.from_name("musetalk-weights", create_if_missing=True)
outputs = modal.Volume.from_name("musetalk-outputs", create_if_missing=True)
output_secret = modal.Secret.from_name("musetalk-output")

# MuseTalk's script without what has broken since: upgrades, a mirror, an option that gdown dropped. Its face
# detector would be downloaded at the first call.
WEIGHTS_SCRIPT = f"""set -e
sed -e '/^pip install/d' -e '/^export HF_ENDPOINT/d' -e 's/gdown --id /gdown /' download_weights.sh > /tmp/weights.sh
bash -e /tmp/weights.sh
curl -fL --create-dirs --output-dir {TORCH_HOME}/hub/checkpoints -O {FACE_DETECTOR}
"""


@app.function(volumes={str(MUSETALK / "models"): weights}, timeout=3600)
def download_weights() -> None:
    """Fills the volume of weights, about 9 GB."""
    subprocess.run(["bash", "-c", WEIGHTS_SCRIPT], cwd=MUSETALK, check=True)
    weights.commit()


@app.function(
    gpu="A10G",
    memory=16384,
    timeout=1800,
    retries=0,
    volumes={str(MUSETALK / "models"): weights, str(OUTPUTS): outputs},
    secrets=[output_secret],
)
def lip_sync(
    *, job_id: str, audio_url: str, video_url: str | None = None, image_url: str | None = None, version: str = "v15"
) -> dict[str, Any]:
    """Makes a face speak. Killed and called again, it starts over, or hands over what it had finished."""
    job_id, face_url = check_arguments(job_id, video_url, image_url, version)
    if not (MUSETALK / UNETS[version]).exists():
        raise RuntimeError("the weights of MuseTalk are not there: run download_weights")
    kept = OUTPUTS / f"{job_id}.mp4"
    outputs.reload()
    if not kept.exists():
        with tempfile.TemporaryDirectory() as folder:
            video = render(Path(folder), face_url, bool(image_url), audio_url, version)
            part = OUTPUTS / f"{job_id}.{uuid.uuid4().hex}.part"
            try:
                shutil.copyfile(video, part)
                part.replace(kept)  # What has the name is whole.
            finally:
                part.unlink(missing_ok=True)
        outputs.commit()
    return hand_over(kept)


def check_arguments(job_id: str, video_url: str | None, image_url: str | None, version: str) -> tuple[str, str]:
    """The job's id as it is written in paths, and the address of the face."""
    if version not in UNETS:
        raise ValueError(f"version must be one of {', '.join(UNETS)}")
    if video_url and image_url:
        raise ValueError("give either video_url or image_url, not both")
    face_url = video_url or image_url
    if not face_url:
        raise ValueError("video_url or image_url is required")
    return str(uuid.UUID(job_id)), face_url


def render(folder: Path, face_url: str, still: bool, audio_url: str, version: str) -> Path:
    sound = download("sound", audio_url, folder / "sound.mp3", MAX_SOUND_BYTES)
    source = download("face", face_url, folder / "source", MAX_FACE_BYTES)
    probe = ("ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(sound))
    seconds = STILL_SECONDS if still else float(run(*probe).split()[-1])
    run(*face_command(source, folder / "face.mp4", seconds, still))
    config = folder / "inference.yaml"
    config.write_text(inference_config(folder / "face.mp4", sound))
    log = run(*musetalk_command(config, folder / "results", version), cwd=MUSETALK)
    made = folder / "results" / version / RESULT
    if not made.is_file():
        raise RuntimeError(complaint_of(log))
    # A copy of the streams with the index at the front; fails on a file that is not whole.
    run("ffmpeg", "-v", "error", "-y", "-i", str(made), "-c", "copy", "-movflags", "+faststart", str(folder / RESULT))
    return folder / RESULT


def face_command(source: Path, target: Path, seconds: float, still: bool) -> list[str]:
    """A video of MuseTalk's frame rate with even sides, no longer than the sound: every frame costs time and memory."""
    fitted = f"scale='min({MAX_SIDE},iw)':'min({MAX_SIDE},ih)':force_original_aspect_ratio=decrease"
    cut = ["-vf", f"{fitted},scale='trunc(iw/2)*2':'trunc(ih/2)*2'", "-t", f"{seconds:.3f}", "-r", str(FPS), "-an"]
    encoder = ["-c:v", "libx264", "-crf", "12", "-pix_fmt", "yuv420p"]
    opened = [*(["-loop", "1"] if still else []), "-protocol_whitelist", "file", "-i", str(source)]
    return ["ffmpeg", "-v", "error", "-y", *opened, *cut, *encoder, str(target)]


def inference_config(face: Path, sound: Path) -> str:
    """JSON is YAML, too. The paths go through a shell in MuseTalk, and must be plain."""
    return json.dumps({"task_0": {"video_path": str(face), "audio_path": str(sound), "result_name": RESULT}})


def musetalk_command(config: Path, results: Path, version: str) -> list[str]:
    unet = UNETS[version]
    paths = ["--inference_config", str(config), "--result_dir", str(results)]
    model = ["--unet_model_path", unet, "--unet_config", f"{Path(unet).parent}/musetalk.json", "--version", version]
    return [sys.executable, "-m", "scripts.inference", *paths, *model]


def complaint_of(log: str) -> str:
    """MuseTalk ends well whatever happens; what went wrong is in its output."""
    marker = "Error occurred during processing:"
    reason = next((line.split(marker, 1)[1].strip() for line in log.splitlines() if marker in line), "no reason given")
    return "MuseTalk found no face" if "by zero" in reason else f"MuseTalk made no video: {reason}"


def download(what: str, url: str, target: Path, max_bytes: int) -> Path:
    """The addresses are secrets: no message has them."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"the address of the {what} is not http(s)")
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    size = 0
    try:
        with urlopen(Request(url), timeout=30) as response, target.open("wb") as file:
            while chunk := response.read1(MIB):
                size += file.write(chunk)
                if size > max_bytes:
                    raise ValueError(f"the {what} is larger than {max_bytes // MIB} MiB")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not within {DOWNLOAD_SECONDS} s")
            if size != int(response.headers.get("Content-Length", size)):
                raise ConnectionError("it broke off")
    except (OSError, HTTPException) as error:
        raise RuntimeError(f"the {what} could not be downloaded: {error}") from None
    return target


def run(*command: str, cwd: Path | None = None) -> str:
    """Runs a program to its end, and ends it when the call is cancelled. Its output is in Modal's log, too."""
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(command, cwd=cwd, text=True, errors="replace", **both)
    print(done.stdout, flush=True)
    if done.returncode != 0:
        reason = (done.stdout.strip().splitlines() or ["no reason given"])[-1]
        raise RuntimeError(f"{Path(command[0]).name} failed: {reason}")
    return done.stdout


def hand_over(kept: Path) -> dict[str, Any]:
    """The secret is the environment, which is where boto3 looks for keys, region and endpoint, too."""
    answer: dict[str, Any] = {"output_path": str(kept)}
    bucket = os.environ.get("S3_BUCKET")
    if bucket:
        import boto3
        from botocore.config import Config

        s3 = boto3.client("s3", config=Config(signature_version="s3v4"))
        s3.upload_file(str(kept), bucket, kept.name, ExtraArgs={"ContentType": "video/mp4"})
        place = {"Bucket": bucket, "Key": kept.name}
        answer["output_url"] = s3.generate_presigned_url("get_object", Params=place, ExpiresIn=LINK_SECONDS)
    elif kept.stat().st_size <= MAX_RETURNED_BYTES:
        answer["output"] = kept.read_bytes()
    return answer
