"""The bodies that the provider sends, member for member; sections 2 to 4 of the contract page. Pure."""

import json
import math
from typing import Any

from webhook_app.emulator.job import Job, JobState
from webhook_app.emulator.words import SubmitForm

TIP = "Your image is processing in background, you can get this image using fetch API"
FETCH_TIP = "Please wait until your image is processed."


def php_json(body: Any) -> str:
    """JSON as PHP writes it: slashes escaped, everything beyond ASCII as \\uXXXX."""
    return json.dumps(body, separators=(",", ":")).replace("/", "\\/")


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _meta(job: Job) -> dict[str, Any]:
    asked = job.submission
    meta = {
        "base64": _yes(asked.base64),
        "clip_skip": None,
        "file_prefix": job.prefix,
        "guidance_scale": 3.5,
        "height": asked.height,
        "instant_response": _yes(asked.instant_response),
        "model_id": asked.model_id,
        "n_samples": asked.samples,
        "negative_prompt": asked.negative_prompt,
        "num_inference_steps": 10,
        "opacity": 0.8,
        "output_type": "png",
        "padding_down": 10,
        "padding_right": 10,
        "prompt": asked.prompt,
        "rescale": "yes",
        "scale_down": 6,
        "seed": job.seed,
        "temp": _yes(asked.temp),
        "watermark": "no",
        "width": asked.width,
    }
    return meta | _image_meta(job)


def _image_meta(job: Job) -> dict[str, Any]:
    asked = job.submission
    if asked.init_image is None:
        return {}
    return {
        "init_image": asked.init_image,
        "strength": asked.strength,
        "safety_checker": _yes(asked.safety_checker),
        "safety_checker_type": "black",
    }


def _tracked_meta(job: Job) -> dict[str, Any]:
    """The meta of a queued job: the id comes as a string here, and the request's webhook and track_id come back."""
    asked = job.submission
    return {**_meta(job), "id": str(job.id), "webhook": asked.webhook, "track_id": asked.track_id}


def _spent(job: Job) -> float:
    return round(job.done_at - job.starts_at, 3)


def processing(job: Job, now: float) -> dict[str, Any]:
    """The answer to a queued submit; `eta` is the whole seconds that are left."""
    return {
        "status": "processing",
        "tip": TIP,
        "eta": max(0, math.ceil(job.done_at - now)),
        "message": "Try to fetch request after seconds estimated",
        "fetch_result": f"{job.base}{job.fetch_path}/{job.id}",
        "id": job.id,
        "output": [],
        "future_links": job.picture_urls(),
        "proxy_links": [],
        "meta": _tracked_meta(job),
    }


def success(job: Job, form: SubmitForm) -> dict[str, Any]:
    """The answer to a submit that was finished at once: the seed page's shape, or the fuller one that has an `id`."""
    if form is SubmitForm.SUCCESS:
        flag = {"nsfw_content_detected": job.submission.flagged} if job.submission.safety_checker else {}
        done = {"status": "success", "generationTime": _spent(job), "output": job.picture_urls()}
        return {**done, **flag, "meta": _meta(job)}
    return {
        "status": "success",
        "warning": "",
        "id": job.id if form is SubmitForm.SUCCESS_INT_ID else None,
        "generationTime": _spent(job),
        "output": job.picture_urls(),
        "proxy_links": job.picture_urls(),
        "nsfw_content_detected": job.submission.flagged,
        "webhook_status": "",
        "meta": _meta(job),
    }


def submitted(job: Job, form: SubmitForm, now: float) -> dict[str, Any]:
    """The answer to a submit in the form that it is to show."""
    match form:
        case SubmitForm.PROCESSING:
            return processing(job, now)
        case SubmitForm.FAILED:
            return failed(job)
        case _:
            return success(job, form)


def failed(job: Job) -> dict[str, Any]:
    """The answer to a submit or fetch of a generation that failed."""
    return {"status": "failed", "id": "", "message": "Failed, Try Again", "output": ""}


def still_processing() -> dict[str, Any]:
    """The answer to a fetch before the picture is there: no id."""
    return {"status": "processing", "message": "try again later.", "output": "", "tip": FETCH_TIP}


def fetched(job: Job) -> dict[str, Any]:
    """The thin answer to a fetch: no meta, no seed, no track_id, and no id while processing."""
    if job.state is JobState.PROCESSING:
        return still_processing()
    if job.state is JobState.FAILED:
        return failed(job)
    urls = job.picture_urls()
    return {"status": "success", "id": job.id, "output": urls, "proxy_links": urls}


def callback(job: Job) -> dict[str, Any]:
    """What is posted to the webhook of a finished job."""
    track_id = job.submission.track_id
    if job.state is JobState.FAILED:
        return {"status": "failed", "id": job.id, "message": "Failed, Try Again", "track_id": track_id, "output": ""}
    return {
        "status": "success",
        **_callback_id(job),
        "track_id": track_id,
        "output": job.picture_urls(),
        "proxy_links": job.picture_urls(),
        "generationTime": _spent(job),
        "nsfw_content_detected": job.submission.flagged,
        "webhook_status": "",
        "meta": _callback_meta(job),
    }


def progress(job: Job) -> dict[str, Any]:
    """A callback of a job that is under way, or says so."""
    told = {"track_id": job.submission.track_id, "eta": 12, "output": [], "future_links": job.picture_urls()}
    return {"status": "processing", **_callback_id(job), **told}


def failure(job: Job) -> dict[str, Any]:
    """A failed callback in the documented form, whatever became of the job."""
    message = "Processing failed: Invalid input dimensions"
    return {"status": "failed", **_callback_id(job), "message": message, "track_id": job.submission.track_id}


def error_with_pictures(job: Job) -> dict[str, Any]:
    """A success that calls itself an error; of a job that failed, the failure."""
    if job.state is JobState.FAILED:
        return callback(job)
    told = {"track_id": job.submission.track_id, "output": job.picture_urls(), "messege": ""}
    return {"status": "error", **_callback_id(job), **told}


def untracked(body: dict[str, Any]) -> dict[str, Any]:
    """A callback without its track_id, which a webhook's URL may hold as well."""
    told = {name: value for name, value in body.items() if name != "track_id"}
    if "meta" in told:
        told["meta"] = {name: value for name, value in told["meta"].items() if name not in {"track_id", "webhook"}}
    return told


def _callback_id(job: Job) -> dict[str, Any]:
    """The id as the submit's answer showed it: none, null or the number."""
    if job.shown_form is SubmitForm.SUCCESS:
        return {}
    return {"id": None if job.shown_form is SubmitForm.SUCCESS_NULL_ID else job.id}


def _callback_meta(job: Job) -> dict[str, Any]:
    if job.shown_form in (SubmitForm.SUCCESS, SubmitForm.SUCCESS_NULL_ID):
        return {**_meta(job), "track_id": job.submission.track_id}
    return _tracked_meta(job)
