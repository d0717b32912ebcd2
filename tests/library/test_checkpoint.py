"""Packed checkpoints: small, exact, and honest about damage."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ptq.checkpoint import load_packed, packed_bytes, packed_plan, save_packed
from ptq.config import QuantConfig, parse_rules
from ptq.context import StepContext, step_context
from ptq.errors import CheckpointError
from ptq.layers import inventory
from ptq.observers import LayerObserver
from ptq.packing import pack_codes, packed_size, unpack_codes
from ptq.plan import QuantPlan, resolve_plan
from ptq.quantize import quantize_

Parts = dict[str, nn.Module]
SPLITS = {"denoiser.2": 10}


class Encoder(nn.Module):
    """Two names for one embedding, as text encoders have."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Embedding(50, 12)
        self.tokens = self.shared

    def forward(self, indices: Tensor) -> Tensor:
        output: Tensor = self.tokens(indices)
        return output


def build(seed: int = 0) -> Parts:
    torch.manual_seed(seed)
    denoiser = nn.Sequential(
        nn.Conv2d(12, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.Conv2d(32, 12, 1),
        nn.ConvTranspose2d(12, 6, 2, stride=2),
        nn.Linear(12, 7),
    ).eval()
    return {"text_encoder": Encoder(), "denoiser": denoiser}


def run(parts: Parts) -> Tensor:
    indices = torch.arange(72).reshape(2, 6, 6) % 50
    with torch.no_grad(), step_context(StepContext(step=3, n_steps=4, t=0.0)):
        output: Tensor = parts["denoiser"](parts["text_encoder"](indices).permute(0, 3, 1, 2))
    return output


def quantized(text: str) -> tuple[Parts, QuantPlan]:
    parts = build()
    config = QuantConfig(name="test", rules=parse_rules(text))
    plan = resolve_plan(config, inventory(parts, SPLITS))
    observer = LayerObserver(channel_axis=1, split=10, buckets=2)
    for bucket in range(2):
        observer.update_(torch.randn(2, 32, 4, 4) * (bucket + 1), bucket)
    quantize_(parts, plan, {"denoiser.2": observer.result()})
    return parts, plan


@pytest.mark.parametrize("kind", ["sym", "asym"])
@pytest.mark.parametrize("granularity", ["channel", "tensor", "group"])
@pytest.mark.parametrize("bits", range(2, 9))
def test_reload_is_bit_exact(bits: int, granularity: str, kind: str, tmp_path: Path) -> None:
    parts, plan = quantized(f"* = w{bits} {granularity} {kind}")
    save_packed(tmp_path / "model", parts, plan)
    loaded = build(seed=1)
    assert load_packed(tmp_path / "model", loaded) == plan
    assert torch.equal(run(loaded), run(parts))
    assert not torch.equal(run(build()), run(parts))


def test_activation_ranges_are_reloaded(tmp_path: Path) -> None:
    parts, plan = quantized("denoiser.2 = w4a8 t2\ndenoiser.0 = a8 dynamic\n* = w8")
    save_packed(tmp_path / "model", parts, plan)
    loaded = build(seed=1)
    load_packed(tmp_path / "model", loaded)
    assert torch.equal(run(loaded), run(parts))
    assert packed_plan(tmp_path / "model") == plan


def test_an_empty_plan_reloads_the_original(tmp_path: Path) -> None:
    parts, plan = quantized("* = keep")
    save_packed(tmp_path / "model", parts, plan)
    loaded = build(seed=1)
    load_packed(tmp_path / "model", loaded)
    assert torch.equal(run(loaded), run(build()))


def test_shards_are_joined(tmp_path: Path) -> None:
    parts, plan = quantized("* = w4")
    save_packed(tmp_path / "model", parts, plan, shard_bytes=1000)
    assert len(list((tmp_path / "model").glob("*.safetensors"))) > 2
    loaded = build(seed=1)
    load_packed(tmp_path / "model", loaded)
    assert torch.equal(run(loaded), run(parts))


def test_exact_halves_take_two_bytes(tmp_path: Path) -> None:
    parts = {"denoiser": nn.Sequential(nn.Linear(256, 256))}
    plan = resolve_plan(QuantConfig(name="fp", rules=()), inventory(parts))
    save_packed(tmp_path / "full", parts, plan)
    parts["denoiser"].half().float()
    save_packed(tmp_path / "half", parts, plan)
    saved = packed_bytes(tmp_path / "full") - packed_bytes(tmp_path / "half")
    assert saved == pytest.approx(2 * (256 * 256 + 256), abs=100)


@pytest.mark.parametrize("rules", ["* = w3 g64", "denoiser.1 = keep\n* = w3 g64", "* = keep"])
@pytest.mark.parametrize("halves", [False, True])
def test_size_on_disk_follows_the_arithmetic(tmp_path: Path, rules: str, halves: bool) -> None:
    parts: Parts = {"denoiser": nn.Sequential(nn.Linear(512, 512), nn.Linear(512, 512))}
    if halves:
        parts["denoiser"].half().float()
    infos = inventory(parts)
    plan = resolve_plan(QuantConfig(name="x", rules=parse_rules(rules)), infos)
    quantize_(parts, plan)
    save_packed(tmp_path / "model", parts, plan)
    overhead = packed_bytes(tmp_path / "model") - plan.size_bytes(infos)
    assert 0 <= overhead < 3000


def test_saving_replaces_the_folder_whole(tmp_path: Path) -> None:
    parts, plan = quantized("* = w8")
    save_packed(tmp_path / "model", parts, plan, shard_bytes=500)
    save_packed(tmp_path / "model", parts, plan)
    assert len(list((tmp_path / "model").iterdir())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_failed_save_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("the disk is full")

    parts, plan = quantized("* = w8")
    save_packed(tmp_path / "model", parts, plan)
    monkeypatch.setattr("ptq.shards.save_file", full)
    with pytest.raises(OSError, match="disk is full"):
        save_packed(tmp_path / "model", parts, plan)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    load_packed(tmp_path / "model", build(seed=1))


def test_parts_must_be_quantized(tmp_path: Path) -> None:
    _, plan = quantized("* = w8")
    with pytest.raises(CheckpointError, match="quantize_"):
        save_packed(tmp_path / "model", build(), plan)


def test_damage_is_found(tmp_path: Path) -> None:
    parts, plan = quantized("* = w8")
    folder = tmp_path / "model"
    save_packed(folder, parts, plan)
    shard = next(folder.glob("*.safetensors"))
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    with pytest.raises(CheckpointError, match="hash"):
        load_packed(folder, build())
    shard.unlink()
    with pytest.raises(CheckpointError, match="missing"):
        load_packed(folder, build())
    (folder / "index.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError, match="damaged"):
        load_packed(folder, build())
    with pytest.raises(CheckpointError, match="there is no"):
        packed_bytes(tmp_path / "elsewhere")


def test_an_index_cannot_reach_outside(tmp_path: Path) -> None:
    parts, plan = quantized("* = w8")
    save_packed(tmp_path / "model", parts, plan)
    path = tmp_path / "model" / "index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    index["sha256"]["../secret.safetensors"] = "0" * 64
    path.write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(CheckpointError, match="outside"):
        load_packed(tmp_path / "model", build())


def test_another_model_is_refused(tmp_path: Path) -> None:
    parts, plan = quantized("* = keep")
    save_packed(tmp_path / "model", parts, plan)
    other = build()
    other["denoiser"].set_submodule("4", nn.Linear(12, 9))
    with pytest.raises(CheckpointError, match=r"denoiser\.4\.weight"):
        load_packed(tmp_path / "model", other)
    with pytest.raises(CheckpointError, match="float16"):
        load_packed(tmp_path / "model", {k: part.half() for k, part in build().items()})


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", range(2, 9))
def test_packing_wastes_no_bit(bits: int, signed: bool) -> None:
    generator = torch.Generator().manual_seed(bits)
    codes = torch.randint(0, 2**bits, (7, 13), generator=generator)
    codes = (codes - 2 ** (bits - 1)).to(torch.int8) if signed else codes.to(torch.uint8)
    packed = pack_codes(codes, bits)
    assert packed.numel() == packed_size(91, bits) == -(-91 * bits // 8)
    again = unpack_codes(packed, bits, (7, 13), signed=signed)
    assert again.dtype == codes.dtype
    assert torch.equal(again, codes)


def test_packing_in_chunks_is_seamless() -> None:
    codes = torch.randint(0, 8, ((8 << 17) + 13,), generator=torch.Generator().manual_seed(0))
    packed = pack_codes(codes.to(torch.uint8), 3)
    again = unpack_codes(packed, 3, tuple(codes.shape), signed=False)
    assert torch.equal(again.long(), codes)
    with pytest.raises(CheckpointError, match="3 bits"):
        unpack_codes(packed[:-1], 3, tuple(codes.shape), signed=False)
