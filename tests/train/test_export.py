"""From checkpoints and files to a model folder that runs, or to nothing at all."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import recast
from recast import weights
from recast.config import kontext_dev, nano, tiny
from recast.context.t5 import T5Config, T5Encoder
from recast.context.text_files import load_byte_t5
from recast.errors import ConfigError, MissingWeights, WeightsError
from recast.flow.transformer import FlowTransformer
from recast.latents.autoencoder import Autoencoder
from recast.train import export, state
from recast.train.card import guidance
from recast.train.ema import Average
from recast.train.export import Card, assemble, averaged, read_network, read_part, t5_config, write_text_encoder
from recast.train.settings import Run, Settings
from recast.train.text_stage import nano_encoder, new_encoder
from tests.students import dev_config, trained, turbo_config, write_base

TEXT = T5Config(vocab_size=384, d_model=24, d_kv=8, d_ff=32, num_layers=2, num_heads=2)


@pytest.fixture
def parts(tmp_path) -> dict[str, Path]:
    """A tiny model's parts: the flow and the text in a checkpoint with averages, the autoencoder in a file."""
    torch.manual_seed(0)
    flow, text, autoencoder = FlowTransformer(tiny().flow), new_encoder(TEXT, 0), Autoencoder(tiny().autoencoder)
    with torch.no_grad():
        for each in (*flow.parameters(), *autoencoder.parameters()):
            each.normal_(std=0.05)
    average = Average(flow)
    for tensor in average.tensors.values():
        tensor += 0.25
    kept = state.Parts(networks={"flow": flow, "text": text}, optimisers={}, averages={"flow": average})
    checkpoint = state.save(tmp_path / "run", kept, state.Progress(step=10), {}, Settings(run=Run(steps=10)))
    save_file(autoencoder.state_dict(), tmp_path / "ae.safetensors")
    return {"flow": checkpoint, "text": checkpoint, "autoencoder": tmp_path / "ae.safetensors"}


def test_averages_stand_in_for_the_weights_that_have_one(parts):
    raw = read_network(parts["flow"], "flow", "raw")
    both = averaged(parts["flow"])
    assert both.keys() == {"flow", "text"}
    for name, tensor in raw.items():
        torch.testing.assert_close(both["flow"][name], tensor + 0.25)
    assert torch.equal(both["text"]["shared.weight"], read_network(parts["text"], "text", "raw")["shared.weight"])


def test_a_run_means_its_newest_checkpoint(parts, tmp_path):
    run = read_part(tmp_path / "run", "flow")
    there = read_part(parts["flow"], "flow")
    assert all(torch.equal(run[name], tensor) for name, tensor in there.items())


def test_a_whole_model_is_written_and_runs(parts, tmp_path):
    config = replace(tiny(), flow=replace(tiny().flow, context_attention="cached"))
    card = Card(summary="A test.", measured={"Scores": {"colour | of shirts": "91 %"}}, limits=["It cannot spell."])
    out = assemble(tmp_path / "made", **parts, config=config, card=card)
    assert {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()} == {
        "README.md", "config.json", "flow.safetensors", "ae.safetensors", "text_encoder/config.json",
        "text_encoder/model.safetensors",
    }  # fmt: skip
    written = load_file(out / "flow.safetensors")
    wanted = averaged(parts["flow"])["flow"]
    assert all(torch.equal(written[name], tensor.bfloat16()) for name, tensor in wanted.items())
    assert json.loads((out / "config.json").read_text())["flow"]["context_attention"] == "cached"
    page = (out / "README.md").read_text()
    for said in ("A test.", "colour \\| of shirts | 91 %", "It cannot spell.", "`cached`", "Apache-2.0", "averages"):
        assert said in page
    pipeline = recast.load(out)
    assert pipeline.config == config


def test_the_last_weights_are_taken_where_asked_for(parts, tmp_path):
    out = assemble(tmp_path / "made", **parts, config=tiny(), take="raw")
    raw = read_network(parts["flow"], "flow", "raw")
    assert torch.equal(load_file(out / "flow.safetensors")["img_in.weight"], raw["img_in.weight"].bfloat16())
    with pytest.raises(ConfigError, match="take='ema'"):
        assemble(tmp_path / "other", **parts, config=tiny(), take="ema")


def test_a_model_folder_gives_its_parts_back(parts, tmp_path):
    out = assemble(tmp_path / "made", **parts, config=tiny(), dtype=torch.float32)
    again = assemble(tmp_path / "again", flow=out, autoencoder=out, text=out, config=tiny(), dtype=torch.float32)
    for name in export.FILES.values():
        first, second = load_file(out / name), load_file(again / name)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_nothing_is_left_of_a_model_that_does_not_fit(parts, tmp_path):
    out = tmp_path / "made"
    wider = replace(tiny(), flow=replace(tiny().flow, hidden_size=96, axes_dim=(8, 12, 12)))
    deeper = replace(tiny(), flow=replace(tiny().flow, depth=3))
    for config, said in ((nano(), "24 channels"), (wider, "misshapen"), (deeper, "missing")):
        with pytest.raises(WeightsError, match=said):
            assemble(out, **parts, config=config)
    with pytest.raises(WeightsError, match="bytes, 1,000 accepted"):
        assemble(out, **parts, config=tiny(), limit_bytes=1000)
    with pytest.raises(ConfigError, match=r"'autoencoder' came.* holds flow, text"):
        assemble(out, **{**parts, "autoencoder": parts["flow"]}, config=tiny())
    with pytest.raises(MissingWeights):
        assemble(out, **{**parts, "text": tmp_path / "nothing"}, config=tiny())
    assert not out.exists()
    assert not list(tmp_path.glob(".made*"))


def test_weights_that_are_not_finite_are_refused(parts, tmp_path):
    tensors = load_file(parts["autoencoder"])
    tensors["decoder.conv_in.bias"][0] = torch.nan
    save_file(tensors, tmp_path / "broken.safetensors")
    with pytest.raises(WeightsError, match=r"not finite: 1 \(decoder.conv_in.bias\)"):
        assemble(tmp_path / "made", **{**parts, "autoencoder": tmp_path / "broken.safetensors"}, config=tiny())


def test_a_folder_in_use_is_left_as_it_is(parts, tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "mine").write_text("keep")
    with pytest.raises(WeightsError, match="not empty"):
        assemble(tmp_path / "made", **parts, config=tiny())
    assert [file.name for file in (tmp_path / "made").iterdir()] == ["mine"]


def test_the_text_encoder_reads_the_same_through_its_files(tmp_path):
    encoder = new_encoder(nano_encoder(), 0)
    assert t5_config(encoder.state_dict()) == nano_encoder()
    write_text_encoder(tmp_path, encoder, torch.float32)
    loaded = load_byte_t5(tmp_path, nano().text, "cpu", torch.float32)
    text = loaded.encode(["make it night"])
    ids = torch.tensor([[byte + 3 for byte in b"make it night"] + [1] + [0] * 130])
    torch.testing.assert_close(text.tokens, encoder(ids).detach())
    write_text_encoder(tmp_path / "half", encoder)
    assert load_file(tmp_path / "half/text_encoder/model.safetensors")["shared.weight"].dtype == torch.bfloat16
    with pytest.raises(WeightsError, match="not empty"):
        write_text_encoder(tmp_path, encoder)


def test_transformers_reads_the_text_encoder(tmp_path):
    hf = pytest.importorskip("transformers")
    encoder = new_encoder(nano_encoder(), 1)
    theirs = hf.T5EncoderModel.from_pretrained(write_text_encoder(tmp_path, encoder, torch.float32))
    ids = torch.tensor([[byte + 3 for byte in b"two people"] + [1] + [0] * 20])
    with torch.no_grad():
        found = theirs(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        torch.testing.assert_close(found, encoder(ids), atol=2e-5, rtol=1e-4)


def test_tensors_of_something_else_are_no_text_encoder(tmp_path):
    with pytest.raises(WeightsError, match="no tensor"):
        t5_config(Autoencoder(tiny().autoencoder).state_dict())
    missing = {name: tensor for name, tensor in T5Encoder(TEXT).state_dict().items() if "wo" not in name}
    with pytest.raises(WeightsError, match="missing: 2"):
        write_text_encoder(tmp_path, missing)
    with pytest.raises(MissingWeights, match="no whole checkpoint"):
        read_network(tmp_path, "flow")
    with pytest.raises(MissingWeights, match="no whole checkpoint"):
        read_part(tmp_path, "flow")


@pytest.fixture(scope="module")
def student(tmp_path_factory) -> Path:
    """A base, and beside it the flow of a few-step student, every number of which was trained."""
    folder = write_base(tmp_path_factory.mktemp("models") / "nano")
    weights.save(folder.parent / "student", {"flow": trained()}, turbo_config())
    return folder.parent / "student"


def test_how_a_student_is_asked_is_in_its_folder_and_on_its_page(student, tmp_path):
    base = student.with_name("nano")
    card = Card(base="nano", made={"adversarial": "400 steps"})
    out = assemble(tmp_path / "t", flow=student, autoencoder=base, text=base, config=turbo_config(), card=card)
    model = recast.load(out, device="cpu", dtype="fp32")
    recipe = model.generate("red", seed=1, width=64, height=64).recipe
    assert (recipe.model, recipe.steps, recipe.sampler, recipe.true_guidance) == ("nano-turbo", 4, "renoise", 1.0)
    page = (out / "README.md").read_text()
    rows = {
        "base": "nano",
        "steps": "4, and no other number of them",
        "sampler": "renoise",
        "guidance": "in the weights, one evaluation a step",
        "adversarial": "400 steps",
    }
    sums = weights.checksum(out / "flow.safetensors"), f"{(out / 'ae.safetensors').stat().st_size:,}"
    for said in (*(f"| {name} | {value} |" for name, value in rows.items()), *sums, "Apache-2.0"):
        assert said in page


def test_a_page_says_how_each_kind_of_model_is_guided():
    assert guidance(nano()) == "two-pass, two evaluations a step (scale 3, of edits 1; 1 is one evaluation)"
    assert guidance(dev_config()) == "embedded, one evaluation a step (scale 3, of edits 1)"
    assert guidance(kontext_dev()) == "embedded, one evaluation a step (scale 2.5, of edits 2.5)"
    plain = replace(nano().defaults, generate_true_guidance=1.0)
    assert guidance(replace(nano(), defaults=plain)) == "none, one evaluation a step"


def test_a_delta_that_loses_too_much_is_refused_and_says_what_would_do(student, tmp_path):
    asked = {"flow": student, "base": student.with_name("nano"), "config": turbo_config()}
    with pytest.raises(
        WeightsError, match=r"rank=2: leaves 0\.\d+ of the .*; at most most_error=0.1 .*pass rank=\d+"
    ) as no:
        export.delta(tmp_path / "a.safetensors", rank=2, **asked)
    assert not list(tmp_path.iterdir())
    enough = int(str(no.value).rpartition("pass rank=")[2].partition(",")[0])
    made = export.delta(tmp_path / "a.safetensors", rank=enough, about={"run": "r7"}, **asked)
    assert made == weights.read_delta(tmp_path / "a.safetensors")
    assert 0 < made.error <= 0.1
    assert (made.base.name, made.config, made.about["run"]) == ("nano", turbo_config(), "r7")
    page = (tmp_path / "a.md").read_text()
    assert f"which leave {made.error:.2%} of the change's length" in page
    assert made.base.sha256 in page
    lossy = export.delta(tmp_path / "b.safetensors", rank=2, most_error=0.99, **asked)
    assert lossy.rank == 2
    assert lossy.error > 0.1
    assert lossy.size_bytes < made.size_bytes


def test_a_delta_of_another_model_is_not_made(student, tmp_path):
    base, out = student.with_name("nano"), tmp_path / "a.safetensors"
    with pytest.raises(WeightsError, match="guidance_embed=True in the config, and the other in the tensors"):
        export.delta(out, flow=student, base=base, config=dev_config())
    wider = replace(turbo_config(), autoencoder=replace(turbo_config().autoencoder, scale_factor=0.5))
    with pytest.raises(WeightsError, match="a nano of another autoencoder"):
        export.delta(out, flow=student, base=base, config=wider)
    with pytest.raises(ConfigError, match="rank=0"):
        export.delta(out, flow=student, base=base, config=turbo_config(), rank=0)
    assert not out.exists()
