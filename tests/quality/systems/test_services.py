"""What is particular to one service: its models, its refusals, what it reports."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from recast.quality.systems.contract import Failed
from tests.quality.systems.conftest import context, words
from tests.quality.systems.protocols import Bfl, Fal, Google, OpenAI, Recraft, Replicate, Stability
from tests.quality.systems.standin import KEY, Reply, from_data_uri


def failure(system, request=None) -> Failed:
    with pytest.raises(Failed) as caught:
        system.make(request or words())
    return caught.value


def sent(standin) -> dict:
    return standin.posts[-1].json()


def encoded(standin) -> str:
    return base64.b64encode(standin.file).decode()


# Black Forest Labs.


def test_bfl_the_cost_and_the_time_are_those_it_reports(running, system):
    made = system(running(Bfl)).make(words())
    assert made.cost_usd == pytest.approx(0.045)  # 4.5 credits, not the 4 of the table
    assert made.server_seconds == 3.5
    assert (made.detail["remote_id"], made.detail["remote_seed"]) == ("task-1", 42)


def test_bfl_the_table_prices_what_is_not_reported(running, system):
    standin = running(Bfl)
    standin.submissions.append(Reply(200, {"id": "1", "polling_url": f"{standin.api.url}/v1/get_result?id=task-1"}))
    assert system(standin).make(words()).cost_usd == 0.04


def test_bfl_every_status_that_is_unknown_is_not_the_end(running, system, clock):
    standin = running(Bfl)
    standin.pending = 0
    standin.polls.extend(Reply(200, {"status": status}) for status in ("Pending", "Reasoning", "Tomorrow", None, 3))
    system(standin).make(words())
    assert clock.slept == [0.7] * 5


@pytest.mark.parametrize(
    ("status", "details", "ends"),
    [
        ("Content Moderated", None, ("blocked", "Content Moderated: the picture was refused")),
        ("Request Moderated", None, ("blocked", "Request Moderated: the request was refused")),
        ("Error", {"error": "out of memory"}, ("error", "Error: error: out of memory")),
    ],
)
def test_bfl_every_end_without_a_picture_has_its_kind(status, details, ends, running, system):
    standin = running(Bfl)
    standin.polls.append(Reply(200, {"status": status, "details": details}))
    failed = failure(system(standin))
    assert (failed.status, failed.reason) == ends


@pytest.mark.parametrize("http_status", [200, 404])
def test_bfl_a_fresh_task_may_not_be_found_three_times(http_status, running, system):
    standin = running(Bfl)
    standin.polls.extend([Reply(http_status, {"id": "task-1", "status": "Task not found"})] * 3)
    assert system(standin).make(words()).attempts == 1
    standin.pending = 1
    standin.polls.extend([Reply(http_status, {"id": "task-1", "status": "Task not found"})] * 4)
    assert "not found, 4 times" in failure(system(standin)).reason


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("flux-kontext-max", {"aspect_ratio": "16:9", "prompt_upsampling": False}),
        ("flux-2-pro", {"width": 1280, "height": 720, "disable_pup": True}),
        ("flux-2-flex", {"width": 1280, "height": 720, "prompt_upsampling": False}),
        ("flux-pro-1.1", {"width": 1280, "height": 704, "prompt_upsampling": False}),
        ("flux-pro-1.1-ultra", {"aspect_ratio": "16:9", "prompt_upsampling": False}),
    ],
)
def test_bfl_each_family_is_asked_for_sizes_in_its_way_and_not_to_rewrite(model, fields, running, system):
    standin = running(Bfl)
    standin.submissions.append(Reply(402, {"detail": "no credits"}))
    assert "402: no credits" in failure(system(standin, f"bfl:{model}"), words(width=1280, height=720)).reason
    assert standin.posts[0].path == f"/v1/{model}"
    expected = {"prompt": words().instruction, "seed": 7, "output_format": "png", **fields}
    assert sent(standin) == expected


@pytest.mark.parametrize(
    ("model", "limit"), [("flux-2-max", 8), ("flux-2-klein-4b", 4), ("flux-kontext-pro", 4), ("flux-pro-1.1", 0)]
)
def test_bfl_the_number_of_pictures_is_that_of_the_family(model, limit, running, system):
    many = words(contexts=tuple(context(i, 8, 8) for i in range(limit + 1)))
    assert f"takes {limit} pictures; {limit + 1} came" in failure(system(running(Bfl), f"bfl:{model}"), many).reason


def test_bfl_a_picture_beyond_its_pixels_is_refused_unsent(running, system):
    standin = running(Bfl)
    wide = words(contexts=(np.zeros((1, 20_000_001, 3), np.uint8),))
    assert "up to 20 MP" in failure(system(standin), wide).reason
    assert standin.calls == []


def test_a_validation_error_is_told_in_the_services_words(running, system):
    standin = running(Bfl)
    detail = [{"loc": ["body", "seed"], "msg": "Input should be a valid integer", "type": "int_type"}]
    standin.submissions.append(Reply(422, {"detail": detail}))
    failed = failure(system(standin))
    assert failed.reason == "bfl answered 422: Input should be a valid integer (int_type)"


def test_fields_set_by_hand_go_over_ours_and_none_takes_one_out(running, system):
    standin = running(Bfl)
    system(standin, extra={"safety_tolerance": 6, "seed": None}).make(words())
    assert sent(standin)["safety_tolerance"] == 6
    assert "seed" not in sent(standin)


# OpenAI.


@pytest.mark.parametrize(
    ("model", "size"),
    [("gpt-image-1", "1536x1024"), ("gpt-image-2", "1280x720"), ("dall-e-2", "1024x1024"), ("dall-e-3", "1792x1024")],
)
def test_openai_each_model_is_asked_for_a_size_it_has(model, size, running, system):
    standin = running(OpenAI)
    standin.submissions.append(Reply(200, {"data": [{"b64_json": encoded(standin)}]}))
    made = system(standin, f"openai:{model}").make(words(width=1280, height=720))
    assert sent(standin)["size"] == made.detail["sent"]["size"] == size
    way = {"response_format": "b64_json"} if "dall" in model else {"output_format": "png"}
    assert way.items() <= sent(standin).items()


def test_openai_a_link_is_followed_too(running, system):
    standin = running(OpenAI)
    standin.submissions.append(Reply(200, {"data": [{"url": standin.link}]}))
    np.testing.assert_array_equal(system(standin).make(words()).pixels, standin.result)


@pytest.mark.parametrize(
    ("code", "status"),
    [("content_policy_violation", "blocked"), ("moderation_blocked", "blocked"), ("billing_hard_limit", "error")],
)
def test_openai_the_code_says_what_a_refusal_is(code, status, running, system):
    standin = running(OpenAI)
    standin.submissions.append(Reply(400, {"error": {"message": "no", "code": code}}))
    assert failure(system(standin)).status == status


def test_openai_what_it_rewrote_and_used_is_kept(running, system):
    detail = system(running(OpenAI)).make(words()).detail
    assert (detail["revised_prompt"], detail["usage"]) == ("better", {"total_tokens": 7})
    assert detail["remote_id"] == "req-1"


def test_a_key_that_a_service_sends_back_is_not_kept(running, system):
    standin = running(OpenAI)
    made = {"b64_json": encoded(standin), "revised_prompt": f"a cat, {KEY}"}
    standin.submissions.append(Reply(200, {"data": [made], "usage": {KEY: KEY}}))
    detail = system(standin).make(words()).detail
    assert (detail["revised_prompt"], detail["usage"]) == ("a cat, ***", {"***": "***"})


def test_openai_a_cost_nobody_knows_stays_unknown(running, system):
    assert system(running(OpenAI)).make(words()).cost_usd is None


# Google.


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, "blocked", "prompt refused: PROHIBITED_CONTENT"),
        ({"candidates": [{"finishReason": "IMAGE_RECITATION"}]}, "blocked", "IMAGE_RECITATION"),
        ({"candidates": [{"finishReason": "NO_IMAGE"}]}, "error", "NO_IMAGE"),
        (
            {"candidates": [{"finishReason": "STOP", "content": {"parts": [{"text": "I cannot draw"}]}}]},
            "error",
            "no picture came: STOP I cannot draw",
        ),
        ({"candidates": []}, "error", "no finishReason"),
    ],
)
def test_google_an_answer_without_a_picture_has_its_reason(body, status, said, running, system):
    standin = running(Google)
    standin.submissions.append(Reply(200, body))
    failed = failure(system(standin))
    assert failed.status == status
    assert said in failed.reason


def test_google_a_thought_is_no_answer(running, system):
    standin = running(Google)
    picture = {"inlineData": {"mimeType": "image/png", "data": encoded(standin)}}
    thought = {"thought": True, "inlineData": {"mimeType": "image/png", "data": "bm90IHRoaXM="}}
    standin.submissions.append(Reply(200, {"candidates": [{"content": {"parts": [picture, thought]}}]}))
    np.testing.assert_array_equal(system(standin).make(words()).pixels, standin.result)
    standin.submissions.append(Reply(200, {"candidates": [{"content": {"parts": [thought]}}]}))
    assert "no picture came" in failure(system(standin)).reason


def test_google_of_several_pictures_the_last_is_the_answer(running, system):
    standin = running(Google)
    drafts = [{"inlineData": {"mimeType": "image/png", "data": data}} for data in ("bm90IHRoaXM=", encoded(standin))]
    standin.submissions.append(Reply(200, {"candidates": [{"content": {"parts": drafts}}]}))
    made = system(standin).make(words())
    np.testing.assert_array_equal(made.pixels, standin.result)
    assert made.detail["pictures"] == 2


def test_google_configuration_set_by_hand_is_merged_into_ours(running, system):
    standin = running(Google)
    part = {"inline_data": {"mime_type": "image/png", "data": encoded(standin)}}
    standin.submissions.append(Reply(200, {"candidates": [{"content": {"parts": [part]}}]}))
    system(standin, extra={"generationConfig": {"imageConfig": {"imageSize": "2K"}}}).make(words())
    config = {"responseModalities": ["IMAGE"], "imageConfig": {"aspectRatio": "3:2", "imageSize": "2K"}}
    assert sent(standin)["generationConfig"] == config


# Recraft.


def test_recraft_a_prompt_it_would_not_read_whole_is_refused_unsent(running, system):
    standin = running(Recraft)
    assert "1001 characters" in failure(system(standin), words(instruction="x" * 1001)).reason
    assert standin.calls == []


def test_recraft_the_fourth_model_has_sizes_of_its_own_and_reads_more(running, system):
    standin = running(Recraft)
    standin.submissions.append(Reply(200, {"data": [{"url": standin.link}]}))
    system(standin, "recraft:recraftv4").make(words(width=1280, height=720, instruction="x" * 1001))
    assert sent(standin)["size"] == "1344x768"


def test_recraft_strength_and_credits_are_in_the_record(running, system):
    standin = running(Recraft)
    made = system(standin, extra={"strength": 0.8}).make(words(contexts=(context(1),)))
    assert standin.posts[0].form()[0]["strength"] == "0.8"
    assert made.detail["sent"] == {"random_seed": 7, "strength": 0.8}
    assert (made.detail["credits"], made.cost_usd) == (40, None)


# Stability.


def test_stability_content_moderation_is_blocked_and_another_403_is_not(running, system):
    standin = running(Stability)
    standin.submissions.append(Reply(403, {"id": "1", "name": "content_moderation", "errors": ["flagged"]}))
    failed = failure(system(standin))
    assert (failed.status, failed.reason) == ("blocked", "stability answered 403: content_moderation: flagged")
    standin.submissions.append(Reply(403, {"id": "1", "name": "permission_denied", "errors": ["no"]}))
    assert failure(system(standin)).status == "error"


def test_stability_a_picture_that_was_not_finished_is_an_error(running, system):
    standin = running(Stability)
    standin.submissions.append(Reply(200, standin.file, {"finish-reason": "ERROR"}))
    failed = failure(system(standin))
    assert (failed.status, failed.reason) == ("error", "finish-reason: ERROR")


def test_stability_ultra_has_an_address_of_its_own(running, system):
    standin = running(Stability)
    standin.submissions.append(Reply(200, standin.file))
    system(standin, "stability:ultra").make(words(contexts=(context(1),)))
    assert standin.posts[0].path == "/v2beta/stable-image/generate/ultra"
    fields, files = standin.posts[0].form()
    assert set(fields) == {"prompt", "seed", "output_format", "strength"}
    assert [name for name, _ in files] == ["image"]


def test_stability_core_refuses_pictures(running, system):
    failed = failure(system(running(Stability), "stability:core"), words(contexts=(context(1),)))
    assert "takes 0 pictures" in failed.reason


def test_a_transparent_picture_is_laid_on_white_and_said_to_have_been(running, system):
    standin = running(Stability)
    rgba = np.zeros((4, 6, 4), np.uint8)
    rgba[:, 3:] = (200, 0, 0, 255)
    rgba[0, 0] = (0, 0, 0, 51)
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "WEBP", lossless=True, exact=True)
    standin.submissions.append(Reply(200, buffer.getvalue()))
    made = system(standin).make(words())
    assert made.pixels[1, 0].tolist() == [255, 255, 255]
    assert made.pixels[0, 0].tolist() == [204, 204, 204]
    assert made.pixels[1, 4].tolist() == [200, 0, 0]
    assert (made.detail["format"], made.detail["had_alpha"]) == ("WEBP", True)


# Replicate.


def test_replicate_a_prediction_that_is_done_at_once_is_not_polled(running, system):
    standin = running(Replicate)
    standin.pending = 0
    made = system(standin).make(words())
    assert len(standin.calls) == 1
    assert (made.server_seconds, made.queue_seconds) == (5.25, 2.5)


@pytest.mark.parametrize("status", ["canceled", "aborted", "failed"])
def test_replicate_every_end_without_a_picture_is_an_error(status, running, system):
    standin = running(Replicate)
    standin.polls.append(Reply(200, {"status": status, "error": "CUDA out of memory"}))
    failed = failure(system(standin))
    assert (failed.status, failed.reason) == ("error", f"{status}: CUDA out of memory")


@pytest.mark.parametrize("form", ["link", "list", "data"])
def test_replicate_the_output_comes_in_several_forms(form, running, system):
    standin = running(Replicate)
    output = {
        "link": standin.link,
        "list": [standin.link, "http://second"],
        "data": f"data:image/png;base64,{encoded(standin)}",
    }[form]
    standin.submissions.append(Reply(201, {"status": "succeeded", "output": output}))
    made = system(standin).make(words())
    np.testing.assert_array_equal(made.pixels, standin.result)
    assert made.detail["pictures"] == (2 if form == "list" else 1)


@pytest.mark.parametrize("output", [None, [], {}, 3, ""])
def test_replicate_success_without_an_output_is_an_error(output, running, system):
    standin = running(Replicate)
    standin.submissions.append(Reply(201, {"status": "succeeded", "output": output}))
    assert "malformed answer: no link" in failure(system(standin)).reason


def test_replicate_a_version_goes_to_the_common_address(running, system):
    standin = running(Replicate)
    standin.submissions.append(Reply(201, {"status": "succeeded", "output": standin.link}))
    system(standin, "replicate:someone/model:v77").make(words())
    assert standin.posts[0].path == "/v1/predictions"
    assert (sent(standin)["version"], sent(standin)["input"]["prompt"]) == ("v77", words().instruction)


def test_replicate_an_unknown_model_gets_no_picture_without_a_name_for_it(running, system):
    standin, edit = running(Replicate), words(contexts=(context(1), context(2)))
    failed = failure(system(standin, "replicate:some/model"), edit)
    assert "the fields for them are: none known; picture_fields=... names others" in failed.reason
    assert standin.calls == []
    for fields in (("first", "second"), ("images[]",)):
        standin.submissions.append(Reply(201, {"status": "succeeded", "output": standin.link}))
        system(standin, "replicate:some/model", picture_fields=fields).make(edit)
        given = sent(standin)["input"]
        pictures = given["images"] if fields == ("images[]",) else [given["first"], given["second"]]
        for i, text in enumerate(pictures, 1):
            np.testing.assert_array_equal(from_data_uri(text), context(i))


# fal.


def test_fal_the_time_is_that_of_the_status(running, system):
    assert system(running(Fal)).make(words()).server_seconds == 2.75


def test_fal_a_task_that_is_completed_with_an_error_is_one(running, system):
    standin = running(Fal)
    standin.polls.append(Reply(200, {"status": "COMPLETED", "error": "runner died", "error_type": "internal"}))
    failed = failure(system(standin))
    assert failed.status == "error"
    assert "runner died" in failed.reason


@pytest.mark.parametrize("way", ["flag", "header", "body", "error"])
def test_fal_content_is_refused_in_several_ways(way, running, system):
    standin = running(Fal)
    done = Reply(200, {"status": "COMPLETED"})
    ways = {
        "flag": [done, Reply(200, {"images": [{"url": standin.link}], "has_nsfw_concepts": [True]})],
        "header": [done, Reply(422, {"detail": "no"}, {"x-fal-error-type": "content_policy_violation"})],
        "body": [done, Reply(422, {"detail": [{"msg": "no", "type": "content_policy_violation"}]})],
        "error": [Reply(200, {"status": "COMPLETED", "error": "no", "error_type": "content_policy_violation"})],
    }
    standin.polls.extend(ways[way])
    assert failure(system(standin)).status == "blocked"
    assert standin.fetches == []


def test_fal_an_app_for_several_pictures_gets_them_as_a_list(running, system):
    standin = running(Fal)
    standin.submissions.append(Reply(422, {"detail": "enough"}))
    edit = words(contexts=(context(1), context(2)))
    failure(system(standin, "fal:fal-ai/flux-pro/kontext/max/multi"), edit)
    for i, text in enumerate(sent(standin)["image_urls"], 1):
        np.testing.assert_array_equal(from_data_uri(text), context(i))


def test_fal_an_app_of_words_gets_no_picture(running, system):
    failed = failure(system(running(Fal), "fal:fal-ai/flux-pro/kontext/text-to-image"), words(contexts=(context(1),)))
    assert "none known" in failed.reason
