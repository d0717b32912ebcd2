"""``python -m assets.recipe STAGE``: make what ships in ``assets/``; every stage resumes.

``all`` runs the stages in order; ``sheet`` draws spectrograms of the corpus. Training states and
rendered clips lie in ``training/``, which git ignores. Where a training has no state to resume,
it starts from the shipped weights, unless ``--from-scratch`` is given. The stage ``denoiser``
trains on several cores where ``torchrun --nproc-per-node N -m assets.recipe denoiser`` starts it.
"""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from assets.recipe.bank import BankStage
from assets.recipe.contact_sheet import write_contact_sheet
from assets.recipe.dataset import Dataset
from assets.recipe.ear import EarStage
from assets.recipe.gallery import SETTINGS, GalleryStage, calibrate
from assets.recipe.judge import JudgeStage
from assets.recipe.pace import write_pace
from assets.recipe.parallel import joined_group, world_size
from assets.recipe.voice_stages import VoiceStages
from ptq.adms.loading import load_adm
from ptq.adms.registry import ADMS_FOLDER, find_adm
from ptq.calibration.folder import CalibrationFolder
from ptq.calibration.shipped import SHIPPED_FOLDER
from ptq.cli import main as ptq_main
from ptq.metrics.embed.ear import Ear
from ptq.metrics.embed.logmel import LogMel128
from ptq.metrics.embed.mini import Mini128

TRAINING = Path("training")
ASSETS = ADMS_FOLDER.parent
_CORPUS = TRAINING / "corpus"


def _pair(purpose: str, short: int, long: int) -> tuple[Dataset, Dataset]:
    """Clips of 2.56 s and of 5.12 s with disjoint seeds."""
    return (
        Dataset(folder=_CORPUS, purpose=purpose, seconds=2.56, n_shards=short),
        Dataset(folder=_CORPUS, purpose=purpose, seconds=5.12, n_shards=long, offset=1_000_000),
    )


def _voice(arguments: argparse.Namespace) -> VoiceStages:
    short, long = _pair("voice", 24, 24)
    return VoiceStages(
        short=short,
        long=long,
        folder=TRAINING,
        target=ADMS_FOLDER / "mini-audioldm",
        device=torch.device(arguments.device),
        from_scratch=arguments.from_scratch,
        compile=arguments.compile,
    )


def _judge(arguments: argparse.Namespace) -> None:
    short = Dataset(folder=_CORPUS, purpose="judge", seconds=2.56, n_shards=2, offset=1_000_000)
    long = Dataset(folder=_CORPUS, purpose="judge", seconds=5.12, n_shards=2)
    short.write()
    long.write()
    device = torch.device(arguments.device)
    stage = JudgeStage(
        short=short, long=long, folder=TRAINING, steps=arguments.steps or 2500, device=device
    )
    stage.write(ASSETS / "judge")


def _ear(arguments: argparse.Namespace) -> None:
    short, long = _pair("ear", 4, 2)
    short.write()
    long.write()
    device = torch.device(arguments.device)
    stage = EarStage(
        short=short, long=long, folder=TRAINING, steps=arguments.steps or 2000, device=device
    )
    stage.write(ASSETS / "ear")


def _bank(_: argparse.Namespace) -> None:
    embedders = (Mini128.load(), LogMel128())
    BankStage(embedders=embedders, folder=TRAINING / "bank").write(ASSETS / "bank")


def _gallery(_: argparse.Namespace) -> None:
    adm = load_adm(find_adm("mini-audioldm"))
    GalleryStage(adm=adm, ear=Ear.load(), folder=ASSETS / "gallery").write()


def _calibration(_: argparse.Namespace) -> None:
    adm = load_adm(find_adm("mini-audioldm"))
    CalibrationFolder(path=SHIPPED_FOLDER / adm.id).write(calibrate(adm, SETTINGS))


def _sensitivities(_: argparse.Namespace) -> None:
    target = ASSETS / "sensitivities"
    target.mkdir(exist_ok=True)
    name = "mini-audioldm"
    measured = ptq_main(["sensitivity", name, "--to", str(target / f"{name}.json")])
    if measured != 0:
        raise SystemExit(measured)


def _pace(_: argparse.Namespace) -> None:
    write_pace(load_adm(find_adm("mini-audioldm")), ASSETS / "pace.json")


STAGES: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "judge": _judge,
    "ear": _ear,
    "bank": _bank,
    "vae": lambda a: _voice(a).train_vae(a.steps or 6000),
    "decoder": lambda a: _voice(a).refine_decoder(a.steps or 4000),
    "vocoder": lambda a: _voice(a).train_vocoder(a.steps or 12_000),
    "reading": lambda a: _voice(a).train_reading(a.steps or 3000),
    "denoiser": lambda a: _voice(a).train_denoiser(a.steps or 40_000),
    "finish": lambda a: _voice(a).finish_vocoder(a.steps or 4000),
    "voice": lambda a: _voice(a).write(),
    "calibration": _calibration,
    "gallery": _gallery,
    "sensitivities": _sensitivities,
    "pace": _pace,
}


def main() -> None:
    """Run one stage or all."""
    parser = argparse.ArgumentParser(prog="python -m assets.recipe", description=__doc__)
    parser.add_argument("stage", choices=[*STAGES, "all", "sheet"])
    parser.add_argument("--steps", type=int, help="optimizer steps instead of the stage's own")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--compile", action="store_true", help="compile the denoiser (needs C++)")
    parser.add_argument("--from-scratch", action="store_true", help="ignore the shipped weights")
    arguments = parser.parse_args()
    with joined_group():
        if world_size() > 1 and arguments.stage != "denoiser":
            parser.error(
                "only the stage 'denoiser' trains in several processes; start it without them"
            )
        if arguments.stage == "sheet":
            write_contact_sheet(TRAINING / "contact-sheet.png")
            return
        for name in STAGES if arguments.stage == "all" else (arguments.stage,):
            STAGES[name](arguments)


if __name__ == "__main__":
    main()
