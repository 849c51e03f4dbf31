"""Submits a job of each kind with a generated client, and says what came of it.

Arguments: the folder of the generated package, where the API is, and where the simulator's files are.
"""

import json
import sys
import uuid

folder, api_url, files = sys.argv[1:]
sys.path.insert(0, folder)

from c3_render_client import Client, models  # noqa: E402
from c3_render_client.api.jobs import list_jobs, mark_job, read_job, read_result, read_status  # noqa: E402
from c3_render_client.api.submissions import (  # noqa: E402
    submit_analysis,
    submit_lipsync,
    submit_portrait,
    submit_speech,
    submit_transcript,
)

client = Client(base_url=api_url)
voice, portrait = f"{files}/voice.wav", f"{files}/portrait.jpg"
metadata = models.Metadata.from_dict({"order": 7, "tags": ["a", {"b": None}]})
submissions = [
    (submit_speech, models.SpeechSubmission(text="Hello.", voice=models.Voice.CONVERSATIONAL_A, metadata=metadata)),
    (submit_transcript, models.TranscriptSubmission(audio_url=voice)),
    (submit_portrait, models.PortraitSubmission(image_url=portrait, text="Hello.", priority=models.Priority.HIGH)),
    (submit_analysis, models.AnalysisSubmission(image_url=portrait)),
    (submit_lipsync, models.LipsyncSubmission(image_url=portrait, audio_url=voice)),
]


def id_of_ended(submit, body):
    """Under its key it is one job, however often it is submitted; each answer waits for its end."""
    key = str(uuid.uuid4())
    while True:
        accepted = submit.sync(client=client, body=body, idempotency_key=key, prefer="wait=60")
        assert isinstance(accepted, (models.Accepted, models.LipsyncAccepted)), accepted
        job_id = accepted.job_id if isinstance(accepted, models.LipsyncAccepted) else accepted.id
        status = read_status.sync(job_id, client=client)
        assert isinstance(status, models.Status), status
        if status.status not in (models.JobState.QUEUED, models.JobState.RUNNING):
            return job_id


told = []
for submit, body in submissions:
    job_id = id_of_ended(submit, body)
    job, result = read_job.sync(job_id, client=client), read_result.sync(job_id, client=client)
    assert isinstance(job, models.Job) and isinstance(result, models.Result), (job, result)
    assert job.result.to_dict().keys() == result.to_dict().keys() - {"id", "status", "metadata"}
    assert all(entry.at.tzinfo is not None for entry in job.timeline)
    told.append({"type": job.type_.value, "status": job.status.value, "result": result.to_dict()})
    if submit is submit_speech:
        assert job.metadata.to_dict() == metadata.to_dict()
        assert job.cost.gpu_seconds.busy >= 0 and job.files[0].mime_type == "audio/mpeg"

waited = submit_speech.sync(client=client, body=models.SpeechSubmission(text="Hello."), prefer="wait=60")
assert isinstance(waited, models.Accepted) and waited.status == models.JobStatus.SUCCESS and waited.result.result_url

refused = submit_speech.sync(client=client, body=models.SpeechSubmission(text="Hello.", topk=500))
assert isinstance(refused, models.Error) and refused.code == "invalid_body" and "topk" in refused.errors.to_dict()

page = list_jobs.sync(client=client, limit=2)
assert isinstance(page, models.Jobs) and len(page.jobs) == 2 and page.next_cursor
marked = mark_job.sync(waited.id, client=client, body=models.Mark(status=models.RequestableState.CANCELLED))
assert isinstance(marked, models.Marked) and "already success" in marked.message

hook = {"id": str(waited.id), "status": "failed", "error": "Why.", "metadata": {"order": 7}}
assert models.Webhook.from_dict(hook).to_dict() == hook
print(json.dumps(told))
