"""A name becomes a system, or an error that says what would; and what it will cost is known before."""

from __future__ import annotations

import subprocess
import sys

import pytest

from recast.errors import ConfigError
from recast.quality import systems
from recast.quality.systems import estimate, named
from tests.quality.systems.conftest import words
from tests.quality.systems.standin import KEY

KEYS = {
    "BFL_API_KEY": KEY, "OPENAI_API_KEY": KEY, "GEMINI_API_KEY": KEY, "RECRAFT_API_TOKEN": KEY,
    "STABILITY_API_KEY": KEY, "REPLICATE_API_TOKEN": KEY, "FAL_KEY": KEY,
}  # fmt: skip
HOSTED = {
    "bfl:flux-kontext-pro": "https://api.bfl.ai",
    "openai:gpt-image-1": "https://api.openai.com/v1",
    "google:gemini-2.5-flash-image": "https://generativelanguage.googleapis.com/v1beta",
    "recraft:recraftv3": "https://external.api.recraft.ai/v1",
    "stability:sd3.5-large": "https://api.stability.ai",
    "replicate:black-forest-labs/flux-kontext-pro": "https://api.replicate.com/v1",
    "fal:fal-ai/flux-pro/kontext": "https://queue.fal.run",
}


@pytest.mark.parametrize(("spec", "address"), HOSTED.items())
def test_a_hosted_name_is_the_service_at_its_own_address(spec, address):
    told = named(spec, environ=KEYS).describe()
    service, _, model = spec.partition(":")
    assert (told["adapter"], told["model"], told["base_url"]) == (service, model, address)


@pytest.mark.parametrize("spec", HOSTED)
def test_a_name_can_be_a_folder(spec):
    assert named(spec, environ=KEYS).name == spec.replace(":", "-").replace("/", "-")


@pytest.mark.parametrize("spec", HOSTED)
def test_without_its_key_a_service_is_refused_by_the_variables_name(spec):
    with pytest.raises(ConfigError, match=r"(KEY|TOKEN).*: not set"):
        named(spec, environ={})


def test_keys_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("BFL_API_KEY", KEY)
    assert named("bfl:flux-kontext-pro").client._key.reveal() == KEY


@pytest.mark.parametrize("spec", ["", "midjourney:v7", "nanoo", "bfl:", "diffusers:", ":x", "/no/such/file"])
def test_an_unknown_name_is_answered_with_the_known_ones(spec):
    with pytest.raises(ConfigError) as caught:
        named(spec, environ=KEYS)
    for accepted in ("nano", "recast:PATH", "diffusers:PATH", *HOSTED):
        assert accepted in str(caught.value)


@pytest.mark.parametrize("spec", ["bfl:flux-kontext-pro", "diffusers:/nowhere", "nano"])
def test_an_unknown_option_is_an_error_that_names_it(spec):
    with pytest.raises(ConfigError, match="colour"):
        named(spec, environ=KEYS, colour="red")


WRONG = [
    {"timeout_s": 0}, {"timeout_s": "long"}, {"concurrency": 0}, {"concurrency": 1.5}, {"price_usd": -1},
    {"requests_per_minute": 0}, {"poll_s": 0}, {"max_contexts": -1}, {"extra": "x"}, {"base_url": "nowhere"},
]  # fmt: skip


@pytest.mark.parametrize("options", WRONG, ids=str)
def test_an_option_that_cannot_work_is_named(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        named("bfl:flux-kontext-pro", environ=KEYS, **options)


RESERVED = [
    ("bfl:flux-kontext-pro", "input_image_2"), ("bfl:flux-kontext-pro", "webhook_secret"), ("openai:gpt-image-1", "n"),
    ("google:gemini-2.5-flash-image", "contents"), ("stability:sd3.5-large", "mode"), ("recraft:recraftv3", "image"),
    ("replicate:a/b", "prompt"), ("fal:a/b", "image_urls"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "name"), RESERVED)
def test_what_is_the_request_itself_is_not_set_by_hand(spec, name):
    with pytest.raises(ConfigError, match=f"extra='{name}'"):
        named(spec, environ=KEYS, extra={name: "x"})


def test_a_key_in_a_field_is_not_described():
    told = named("bfl:flux-kontext-pro", environ=KEYS, extra={"note": f"my {KEY}"}).describe()
    assert told["extra"] == {"note": "my ***"}


def test_the_description_changes_with_what_decides_the_picture_and_not_with_patience():
    base = named("bfl:flux-kontext-pro", environ=KEYS).describe()
    assert named("bfl:flux-kontext-pro", environ=KEYS, timeout_s=9, concurrency=1).describe() == base
    assert named("bfl:flux-kontext-pro", environ=KEYS, extra={"safety_tolerance": 6}).describe() != base
    assert named("bfl:flux-kontext-max", environ=KEYS).describe() != base


def test_the_cost_of_a_run_is_the_sum_of_its_prices():
    told = estimate(named("bfl:flux-kontext-max", environ=KEYS), [words()] * 30)
    assert (told["requests"], told["usd"], told["unpriced"]) == (30, pytest.approx(2.4), 0)


def test_an_unknown_price_is_not_guessed():
    told = estimate(named("openai:gpt-image-1", environ=KEYS), [words()] * 3)
    assert (told["usd"], told["usd_known"], told["unpriced"]) == (None, 0, 3)


def test_a_price_that_is_given_makes_an_unknown_one_known():
    assert estimate(named("openai:gpt-image-1", environ=KEYS, price_usd=0.17), [words()] * 3)["usd"] == 0.51


@pytest.mark.parametrize(("per_minute", "seconds"), [(30, 18.0), (None, 0.0), ("auto", 9.0)])
def test_the_least_time_follows_from_the_rate_limit(per_minute, seconds):
    system = named("bfl:flux-kontext-pro", environ=KEYS, requests_per_minute=per_minute)
    assert estimate(system, [words()] * 10)["seconds_at_least"] == seconds


def test_a_run_of_nothing_costs_nothing():
    told = estimate(named("bfl:flux-kontext-pro", environ=KEYS), [])
    assert (told["requests"], told["usd"], told["seconds_at_least"]) == (0, 0, 0)


def test_naming_a_hosted_system_loads_no_network_of_neurons():
    """`--dry-run` on a laptop is immediate."""
    program = (
        "import sys; from recast.quality import systems; "
        "systems.named('bfl:flux-kontext-pro', environ={'BFL_API_KEY': 'k'}); "
        "sys.exit(any(heavy in sys.modules for heavy in ('torch', 'diffusers', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_what_a_caller_needs_is_at_the_rooms_door():
    for name in systems.__all__:
        assert hasattr(systems, name)
