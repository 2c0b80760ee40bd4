"""The dialect as tables: a body's file (verbatim, in fixtures), and what it means. `meta` is looked at elsewhere."""

from pathlib import Path

from webhook_app.domain.errors import ErrorCode
from webhook_app.domain.outcome import (
    CallbackReading,
    Failed,
    Finished,
    Later,
    Picture,
    PollAnswer,
    Refused,
    Running,
    SubmitAnswer,
    Unconfirmed,
    Unread,
)

FIXTURES = Path(__file__).parent / "fixtures"
R2 = "https://pub-3626123a908346a7a8be8d9295f44e26.r2.dev/generations/"
CDN = "https://cdn2.stablediffusionapi.com/generations/"
A, A1, PROXY, PROXY1 = f"{R2}a-0.png", f"{R2}a-1.png", f"{CDN}a-0.png", f"{CDN}a-1.png"
LIMIT = "The width field must not be greater than 1024."


def pictures(*sources: str | tuple[str, ...]) -> tuple[Picture, ...]:
    return tuple(Picture(i, (s,) if isinstance(s, str) else s) for i, s in enumerate(sources))


def done(*sources: str | tuple[str, ...], **more: object) -> Finished:
    return Finished(pictures(*sources), **({"provider_job_id": "1"} | more))  # type: ignore[arg-type]


def invalid(text: str) -> Refused:
    return Refused(text, ErrorCode.INVALID_INPUT)


def again(text: str, status: str = "error", job: str | None = None) -> Failed:
    return Failed(text, True, job, status)


AUTH, QUOTA = ErrorCode.PROVIDER_AUTH, ErrorCode.PROVIDER_QUOTA
ASTRONAUT = f"{R2}a42fd78c-898d-4daa-a1e9-1c91ad2ea894-0.png"
CAT = "2ac32c06-17a9-418d-b8f9-d76d32774585-0.png"
WIDE = Picture(
    0, (f"{R2}29396946-e6e7-429d-9eda-7b6095868653-0.png", f"{CDN}29396946-e6e7-429d-9eda-7b6095868653-0.png")
)
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="

# Submit answers whose body alone decides: the same at HTTP 200 and at 503.
SUBMITS: dict[str, SubmitAnswer] = {
    "submit_success_without_id.json": Finished(
        pictures(ASTRONAUT), seed=3415551529, generation_time_s=1.3200268745422363
    ),
    "submit_success_null_id.json": Finished(
        pictures((R2 + CAT, CDN + CAT)), seed=3851153854, generation_time_s=8.17, nsfw=False
    ),
    "submit_processing.json": Running("134693666", 35.0),
    "submit_processing_legacy.json": Running("134701497", 13.067986918399999),
    "submit_processing_minimal.json": Running("abc123-def456", 30.0),
    "submit_processing_id_in_fetch_result.json": Running("134693666", 35.0),
    "submit_processing_id_in_meta.json": Running("134693666", 1.0),
    "submit_processing_request_id.json": Running("134693666", 960.0),
    "submit_queued_leaked.json": Running(None, 2.75, "queued"),
    "submit_success_no_pictures.json": Running("77", None, "success"),
    "submit_success_no_pictures_no_id.json": Running(None, None, "success"),
    "submit_unknown_status_with_id.json": Running("9", None, "deploying_gpu"),
    "output_bare_string.json": done(A),
    "output_empty_string_links.json": done(A),
    "output_empty_proxy_only.json": done(PROXY),
    "output_two_proxy_two.json": done((A, PROXY), (A1, PROXY1)),
    "output_ready.json": done(A, provider_status="ready"),
    "output_base64_url.json": done("https://pub-3626123a908346a7a8be8d9295f44e26.r2.dev/temp/a-0.base64"),
    "output_inline_base64.json": done(f"data:image/png;base64,{PIXEL}"),
    "output_inline_jpeg.json": done("data:image/jpeg;base64,/9j/4AAQSkZJRgABAQ=="),
    "output_data_uri.json": done("data:image/png;base64,iVBORw0KGgoAAAANSUhEUg=="),
    "output_doubled_slash.json": done(A),
    "output_bad_addresses.json": Finished((Picture(9, (A,)),), "1"),
    "output_forty.json": done(*(f"https://cdn.modelslab.com/a-{n}.png" for n in range(10))),
    "proxy_links_empty_list.json": done(A),
    "proxy_links_empty_string.json": done(A),
    "proxy_links_bare_string.json": done((A, PROXY)),
    "proxy_links_object.json": done((A, PROXY)),
    "proxy_links_object_second_only.json": done(A, (A1, PROXY1)),
    "nsfw_true.json": done(A, nsfw=True),
    "nsfw_text.json": done(A, nsfw=True),
    "nsfw_empty.json": done(A),
    "seed_text.json": done(A, seed=3415551529),
    "seed_beyond_64_bits.json": done(A),
    "generation_time_text.json": done(A, generation_time_s=1.32),
    "meta_echoes_ours.json": done(A, seed=5),
    "failed_try_again_messege.json": again("Failed, Try Again", "failed"),
    "failed_with_int_id.json": again("Failed, Try Again", "failed", "134932313"),
    "failed_empty.json": again("", "failed"),
    "error_bag_of_lists.json": invalid(f"The prompt field is required. {LIMIT}"),
    "error_prompt_required.json": invalid("prompt is required"),
    "error_prompt_not_text.json": invalid("prompt must be a string"),
    "error_width_range.json": invalid("width must be between 256 and 1024"),
    "error_height_divisible.json": invalid("height must be divisible by 8"),
    "error_samples_range.json": invalid("samples must be between 1 and 4"),
    "error_guidance_range.json": invalid("guidance_scale must be between 1 and 20"),
    "error_init_image.json": invalid("Unable to fetch image from provided URL"),
    "error_model_not_found.json": Refused("Model not found: flux-9"),
    "error_premium.json": Refused("This feature requires a premium subscription"),
    "error_invalid_key.json": Refused("Invalid API key", AUTH),
    "error_key_required.json": Refused("API key required", AUTH),
    "error_no_credits.json": Refused("Insufficient credits. Please add more credits to continue.", QUOTA),
    "error_queue_full.json": Later("Rate limit exceeded. Maximum 5 queued requests allowed.", 30.0),
    "error_server.json": again("Internal server error. Please try again."),
    "error_unavailable.json": again("Service temporarily unavailable. Please try again later."),
    "error_observed_invalid_key.json": Refused("Invalid Api Key", AUTH),
    "error_observed_key_bag.json": Refused("The key field is required.", AUTH),
    "error_observed_rate_limit.json": Later("Rate limit exceeded"),
    "error_observed_monthly_limit.json": Refused(
        "Your monthly limit exceeded, upgrade subscription now on stablediffusionapi.com", QUOTA
    ),
    "error_observed_model_id.json": Refused("Model id not found"),
    "error_observed_prompt_required.json": invalid("The prompt field is required."),
    "error_observed_bag.json": invalid("The prompt field is required."),
    "error_observed_try_again.json": again("try again"),
    "error_observed_empty.json": again(""),
    "error_observed_unknown.json": again("The flux capacitor is not ready"),
    "error_tip_only.json": again("Our servers are busy"),
}

# Submit answers that are no JSON object with a status, and unknown texts: the HTTP status decides.
SUBMITS_BY_HTTP: list[tuple[str, int, SubmitAnswer]] = [
    ("bad_gateway.html", 502, Unconfirmed("HTTP 502 with an answer that is not JSON")),
    ("bad_gateway.html", 200, Unconfirmed("HTTP 200 with an answer that is not JSON")),
    ("bad_gateway.html", 302, Unconfirmed("HTTP 302 with an answer that is not JSON")),
    ("bad_gateway.html", 408, Unconfirmed("HTTP 408 with an answer that is not JSON")),
    ("not_found.html", 404, Refused("HTTP 404", provider_status="404")),
    ("not_found.html", 405, Refused("HTTP 405", provider_status="405")),
    ("not_found.html", 400, Refused("HTTP 400", provider_status="400")),
    ("not_found.html", 401, Refused("HTTP 401", AUTH, "401")),
    ("not_found.html", 402, Refused("HTTP 402", QUOTA, "402")),
    ("not_found.html", 403, Refused("HTTP 403", AUTH, "403")),
    ("not_found.html", 429, Later("HTTP 429", None, "429")),
    ("framework_unauthenticated.json", 401, Refused("Unauthenticated.", AUTH, "401")),
    ("framework_server_error.json", 500, Unconfirmed("HTTP 500 with a JSON answer without a status")),
    (
        "framework_unprocessable.json",
        422,
        Refused("The given data was invalid.", ErrorCode.INVALID_INPUT, "422"),
    ),
    ("submit_no_status.json", 200, Unconfirmed("HTTP 200 with a JSON answer without a status")),
    ("submit_error_id_only.json", 200, Unconfirmed("HTTP 200 with a JSON answer without a status")),
    ("submit_unknown_status.json", 200, Unconfirmed("HTTP 200 with the unknown status 'ok'")),
    ("error_observed_unknown.json", 401, Refused("The flux capacitor is not ready", AUTH)),
    ("error_observed_unknown.json", 402, Refused("The flux capacitor is not ready", QUOTA)),
    ("error_observed_unknown.json", 403, Refused("The flux capacitor is not ready")),
    ("error_observed_unknown.json", 400, invalid("The flux capacitor is not ready")),
    ("error_observed_unknown.json", 429, Later("The flux capacitor is not ready")),
    ("callback_array.json", 200, Unconfirmed("HTTP 200 with an answer that is not JSON")),
]

CALLBACKS: dict[str, CallbackReading] = {
    "callback_success_documented.json": CallbackReading(
        Finished(pictures(f"{R2}abc123-0.png"), "abc123-def456", generation_time_s=45.2), "job-3422"
    ),
    "callback_success_full.json": CallbackReading(
        Finished((WIDE,), "134932313", seed=2611448049, generation_time_s=3.41, nsfw=False), "job-3422"
    ),
    "callback_failed_reason.json": CallbackReading(
        Failed("Processing failed: Invalid input dimensions", False, "abc123-def456"), "job-3422"
    ),
    "callback_failed_without_track_id.json": CallbackReading(again("Failed, Try Again", "failed", "134932313")),
    "callback_error_with_pictures.json": CallbackReading(
        Finished(pictures("https://.../0-uuid.jpg"), "134932313", provider_status="error"), "3422"
    ),
    "callback_processing.json": CallbackReading(Running("134932313", 12.0), "job-3422"),
    "callback_track_id_in_meta.json": CallbackReading(Finished(pictures(A)), "job-3422"),
    "callback_error_no_pictures.json": CallbackReading(again(""), "job-3422"),
    "callback_error_invalid.json": CallbackReading(invalid(LIMIT), "job-3422"),
    "callback_rate_limit.json": CallbackReading(again("Rate limit exceeded"), "job-3422"),
    "callback_success_no_pictures.json": CallbackReading(
        Running("5", None, "success"), "job-3422", "a success without usable pictures"
    ),
    "callback_form.txt": CallbackReading(Finished(pictures(A), "134932313", seed=2611448049, nsfw=False), "job-3422"),
    "callback_form_one_field.txt": CallbackReading(Finished(pictures(A)), "job-3422"),
    "callback_form_json_member.txt": CallbackReading(Finished(pictures(A)), "job-3422"),
    "callback_nan.json": CallbackReading(Finished(pictures(A)), "job-3422"),
    "callback_nul.json": CallbackReading(Failed("bad\ufffd \ufffd news", False), "job-3422"),
    "callback_training.json": CallbackReading(None, None, "the body has no status of a generation"),
    "callback_workflow.json": CallbackReading(None, None, "the body has no status of a generation"),
    "callback_unknown_status.json": CallbackReading(None, "job-3422", "the status 'celebrating' is unknown"),
    "callback_array.json": CallbackReading(None, None, "the body is not a JSON object"),
    "callback_text.json": CallbackReading(None, None, "the body is not a JSON object"),
    "bad_gateway.html": CallbackReading(None, None, "the body is not a JSON object"),
}

FETCHES: list[tuple[str, int, PollAnswer]] = [
    (
        "fetch_success.json",
        200,
        Finished(
            pictures(
                "https://pub-8b49af329fae499aa563997f5d4068a4.r2.dev/generations/"
                "e5cd86d3-7305-47fc-82c1-7d1a3b130fa4-0.png"
            ),
            "12202888",
        ),
    ),
    (
        "fetch_success_proxy_links.json",
        200,
        Finished(
            pictures("https://modelslab-bom.s3.amazonaws.com/modelslab/da199aff-7162-424d-8e25-f365bcee1e28-0.jpg"),
            "134686749",
        ),
    ),
    ("fetch_success_proxy_links_null.json", 200, Finished(pictures("https://.../"), "263")),
    ("fetch_processing.json", 200, Running()),
    ("fetch_failed_message.json", 200, again("Failed, Try Again", "failed")),
    ("fetch_error_messege.json", 200, Unread("HTTP 200, status 'error': Error message")),
    ("fetch_error_rate_limit.json", 200, Unread("HTTP 200, status 'error': Rate limit exceeded")),
    ("fetch_error_generation_failed.json", 200, again("Image generation failed")),
    ("fetch_message_only.json", 200, Unread("HTTP 200 without a status")),
    ("fetch_error_id.json", 200, Unread("HTTP 200 without a status")),
    ("not_found.html", 404, Unread("HTTP 404 without a status")),
    ("bad_gateway.html", 502, Unread("HTTP 502 without a status")),
    ("error_invalid_key.json", 401, Unread("HTTP 401, status 'error': Invalid API key")),
    (
        "error_unavailable.json",
        503,
        Unread("HTTP 503, status 'error': Service temporarily unavailable. Please try again later."),
    ),
]
