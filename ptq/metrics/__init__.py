"""Scores of generated audio: distribution distances, paired distances, and their inference.

Everything works on arrays and knows nothing of quantization; reference first, estimate second.
"""

from ptq.metrics.frechet import (
    ReferenceBank,
    fd_influence,
    frechet_distance,
    noise_floor,
    split_half_fd,
)
from ptq.metrics.inference import (
    FDDifference,
    FDIncrease,
    paired_difference,
    paired_increase,
    required_prompts,
)
from ptq.metrics.kernel import (
    kernel_audio_distance,
    kernel_inception_distance,
    median_distance,
)
from ptq.metrics.levels import ClipFlags, NewDefects, clip_flags, new_defects, rms_db
from ptq.metrics.paired import divergence_index, embedding_cosine, si_sdr_db, snr_db, sqnr_db
from ptq.metrics.paired_banks import Estimator, PairedBanks
from ptq.metrics.probabilities import (
    inception_score,
    inception_score_parts,
    kl_gen_ref,
    kl_ref_gen,
    split_half_inception_score,
    top1_agreement,
)
from ptq.metrics.spectral import log_mel_l1_db, lsd_db, mr_stft_distance
from ptq.metrics.splits import half_splits
from ptq.metrics.trajectory import free_running_sqnr_db, teacher_forced_sqnr_db
from ptq.metrics.verdict import Evidence, Judgement, Verdict, judge

__all__ = [
    "ClipFlags",
    "Estimator",
    "Evidence",
    "FDDifference",
    "FDIncrease",
    "Judgement",
    "NewDefects",
    "PairedBanks",
    "ReferenceBank",
    "Verdict",
    "clip_flags",
    "divergence_index",
    "embedding_cosine",
    "fd_influence",
    "frechet_distance",
    "free_running_sqnr_db",
    "half_splits",
    "inception_score",
    "inception_score_parts",
    "judge",
    "kernel_audio_distance",
    "kernel_inception_distance",
    "kl_gen_ref",
    "kl_ref_gen",
    "log_mel_l1_db",
    "lsd_db",
    "median_distance",
    "mr_stft_distance",
    "new_defects",
    "noise_floor",
    "paired_difference",
    "paired_increase",
    "required_prompts",
    "rms_db",
    "si_sdr_db",
    "snr_db",
    "split_half_fd",
    "split_half_inception_score",
    "sqnr_db",
    "teacher_forced_sqnr_db",
    "top1_agreement",
]
