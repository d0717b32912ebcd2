"""`mini128`: the embedder that ships, trained on this project's own synthesised sounds.

Its distances rank degradations and tell sound families apart (see `assets/ear/card.md`); they
are not comparable with published Fréchet distances, which rest on other embeddings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptq.errors import MetricError
from ptq.metrics.embed.base import SAMPLE_RATE_HZ, batches_by_length
from ptq.metrics.embed.mini_net import EMBEDDING_DIM, MiniNet
from ptq.metrics.embed.weights import read_network
from ptq.metrics.embed.words import Vocabulary

EAR_FOLDER = Path(__file__).resolve().parents[3] / "assets" / "ear"
_BATCH = 4


@dataclass(frozen=True, kw_only=True)
class Mini128:
    """Embedder, classifier and caption scorer with one network.

    Attributes:
        net: The network, in eval mode.
        vocabulary: Words of its text tower.
        sources: Source ids in the order of the class logits.
        sha256: Hash of the weights file.
    """

    net: MiniNet
    vocabulary: Vocabulary
    sources: tuple[str, ...]
    sha256: str

    @classmethod
    def load(cls, folder: Path = EAR_FOLDER) -> Self:
        """Read the weights that ship in `assets/ear/`.

        Raises:
            CheckpointError: A file is missing or damaged.
        """
        return read_network(folder, "mini128", cls._build)

    @classmethod
    def _build(cls, config: dict[str, Any], state: dict[str, Tensor]) -> Self:
        vocabulary = Vocabulary(words=tuple(config["words"]))
        sources = tuple(config["sources"])
        net = MiniNet(n_sources=len(sources), vocabulary_size=len(vocabulary))
        net.load_state_dict(state)
        return cls(net=net.eval(), vocabulary=vocabulary, sources=sources, sha256=config["sha256"])

    @property
    def id(self) -> str:
        """Name of the embedder."""
        return "mini128"

    @property
    def dim(self) -> int:
        """Width of an embedding."""
        return EMBEDDING_DIM

    @property
    def sample_rate_hz(self) -> int:
        """Rate that `embed` expects."""
        return SAMPLE_RATE_HZ

    @torch.no_grad()
    def embed(self, clips: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Embedding before its ReLU, `(n, 128)`: closer to a Gaussian than after it.

        Raises:
            MetricError: A clip is not mono, too short, or not finite.
        """
        rows = np.zeros((len(clips), EMBEDDING_DIM), dtype=np.float32)
        for indices, samples in batches_by_length(clips, _BATCH):
            rows[indices] = self.net.audio(samples)[0].numpy()[: len(indices)]
        return rows

    @torch.no_grad()
    def class_logits(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits `(n, sources)` of embeddings `(n, 128)`, for KL and IS."""
        logits: NDArray[np.float32] = self.net.class_logits(torch.from_numpy(embeddings)).numpy()
        return logits

    @torch.no_grad()
    def audio_embed(self, clips: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Unit vectors `(n, 128)` in the space of `text_embed`.

        Raises:
            MetricError: A clip is not mono, too short, or not finite.
        """
        rows = np.zeros((len(clips), EMBEDDING_DIM), dtype=np.float32)
        for indices, samples in batches_by_length(clips, _BATCH):
            vectors = self.net.audio_for_text(*self.net.audio(samples))
            rows[indices] = vectors.numpy()[: len(indices)]
        return rows

    @torch.no_grad()
    def text_embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors `(n, 128)` of captions; words it was not trained on count as unknown."""
        vectors: NDArray[np.float32] = self.net.text(self.vocabulary.tokens(texts)).numpy()
        return vectors

    def text_score(
        self, clips: Sequence[NDArray[np.float32]], texts: Sequence[str]
    ) -> NDArray[np.float32]:
        """Cosine of every clip with its own caption, `(n,)`, −1 to 1.

        Raises:
            MetricError: Not one text a clip, or a clip that `embed` refuses.
        """
        if len(clips) != len(texts):
            raise MetricError(f"{len(clips)} clips but {len(texts)} texts; give one text a clip.")
        scores: NDArray[np.float32] = (self.audio_embed(clips) * self.text_embed(texts)).sum(1)
        return scores
