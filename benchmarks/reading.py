"""Whether a linear map finds both sources of a two-event caption in the voice's text embedding.

What the embedding does not tell, the denoiser cannot sound:
``python -m benchmarks.reading [--encoder FOLDER]``
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ClapTextModelWithProjection, RobertaTokenizer

from assets.recipe.corpus import SEED_OF
from assets.recipe.text import embeddings
from benchmarks.records import write_results
from benchmarks.voice import pair_prompts
from ptq.adms.registry import ADMS_FOLDER
from ptq.prompts.grammar import Prompt
from ptq.prompts.lexicon import default_lexicon

_VOICE = ADMS_FOLDER / "mini-audioldm"
_LEARN, _TEST = 7000, 1000
_STEPS, _BATCH, _RATE = 1500, 512, 3e-3


def sources_of(prompts: Sequence[Prompt]) -> Tensor:
    """Indices of first and second source, ``(prompts, 2)``."""
    ids = [source.id for source in default_lexicon().embedded]
    scenes = [prompt.scene for prompt in prompts if prompt.scene is not None]
    return torch.tensor([[ids.index(s) for s in scene.sources] for scene in scenes])


def fit(inputs: Tensor, sources: Tensor) -> nn.Linear:
    """A linear layer whose outputs are the logits of the first and of the second source."""
    torch.manual_seed(0)
    layer = nn.Linear(inputs.shape[1], 2 * len(default_lexicon().embedded))
    optimizer = torch.optim.Adam(layer.parameters(), _RATE)
    for _ in range(_STEPS):
        rows = torch.randint(len(inputs), (_BATCH,))
        logits = layer(inputs[rows]).view(2 * _BATCH, -1)
        loss = F.cross_entropy(logits, sources[rows].flatten())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return layer


@torch.no_grad()
def hits(layer: nn.Linear, inputs: Tensor, sources: Tensor) -> Tensor:
    """Whether the layer names each source, ``(prompts, 2)``."""
    named = layer(inputs).view(len(inputs), 2, -1).argmax(dim=-1)
    return torch.eq(named, sources)


def read_off(encoder: ClapTextModelWithProjection, tokenizer: RobertaTokenizer) -> dict[str, float]:
    """Shares of unseen captions whose sources a linear layer finds.

    Args:
        encoder: Of the voice, or one to compare it with.
        tokenizer: The encoder's.
    """
    learn = pair_prompts(_LEARN, SEED_OF["voice"])
    test = pair_prompts(_TEST)
    seen = embeddings(encoder, tokenizer, [p.text for p in learn])
    mean, deviation = seen.mean(dim=0), seen.std(dim=0) + 1e-6
    layer = fit((seen - mean) / deviation, sources_of(learn))
    unseen = embeddings(encoder, tokenizer, [p.text for p in test])
    found = hits(layer, (unseen - mean) / deviation, sources_of(test))
    first, second = found.float().mean(dim=0).tolist()
    return {"first": first, "second": second, "both": float(found.all(dim=1).float().mean())}


def main() -> None:
    """Measure the voice's encoder, or another one, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", type=Path, help="folder of another text encoder")
    arguments = parser.parse_args()
    folder = arguments.encoder or _VOICE / "text_encoder"
    encoder = ClapTextModelWithProjection.from_pretrained(folder).float().eval()
    shares = read_off(encoder, RobertaTokenizer.from_pretrained(_VOICE / "tokenizer"))
    print(" · ".join(f"{name} {share:.1%}" for name, share in shares.items()))
    if arguments.encoder is None:
        print(write_results("reading", {"learnt": _LEARN, "tested": _TEST, "shares": shares}))


if __name__ == "__main__":
    main()
