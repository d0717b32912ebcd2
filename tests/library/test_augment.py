"""Prompt augmentation: coverage grows, the choice is greedy, and no suite leaks into another."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from ptq.adms.audioldm import AudioLDM
from ptq.adms.text import embed_prompts
from ptq.errors import ConfigError
from ptq.prompts.aspects import Cell, aspects_of, cells_of
from ptq.prompts.augment import Augmenter, choose_prompts, coverage_goal, without_twins
from ptq.prompts.grammar import Prompt
from ptq.prompts.lexicon import default_lexicon
from ptq.prompts.space import PromptSpace
from ptq.prompts.suites import Suite, draw_suite, suite_of
from ptq.prompts.variations import Variator
from ptq.submodular import lazy_greedy

WIDTH = 96
# Eight prompts around a circle: the cosine of neighbours, below which a text is a stray, is 0.707.
CIRCLE = ("a dog barks", "a bell tolls", "red", "green", "blue", "grey", "pink", "black")


def bag_of_words(texts: Sequence[str]) -> NDArray[np.float32]:
    """A stand-in for a text encoder that needs no weights: every word has a fixed direction."""
    rows = np.zeros((len(texts), WIDTH), dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        for word in text.split():
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
            row += np.random.default_rng(seed).standard_normal(WIDTH).astype(np.float32)
        row += 5.0  # a narrow cone, as text encoders have
    return rows


def variator(seed: int) -> Variator:
    return Variator(lexicon=default_lexicon(), rng=np.random.default_rng(seed))


@dataclass(frozen=True, kw_only=True)
class Scripted(Variator):
    """Makes the next prompts of a list, whatever the cell."""

    texts: Iterator[str]

    def with_cell(self, cell: Cell) -> Iterator[Prompt]:  # noqa: ARG002 - the next for each
        return (Prompt(text=text) for text in self.texts)


def above(text: str, cosine: float) -> NDArray[np.float32]:
    """A direction above the circle: so near to one of its prompts, and farther from the others."""
    turn = CIRCLE.index(text) * math.tau / len(CIRCLE)
    place = (cosine * math.cos(turn), cosine * math.sin(turn), math.sqrt(1 - cosine**2))
    return np.array(place, dtype=np.float32)


def accepted(candidates: dict[str, NDArray[np.float32]]) -> tuple[str, ...]:
    """What of the candidates is added to the circle, in the order in which they are made."""
    places = {**{text: above(text, 1.0) for text in CIRCLE}, **candidates}
    space = PromptSpace(
        reference=CIRCLE, embed=lambda texts: np.stack([places[text] for text in texts])
    )
    scripted = Scripted(
        lexicon=default_lexicon(), rng=np.random.default_rng(0), texts=iter(candidates)
    )
    augmenter = Augmenter(space, [Prompt(text=text) for text in CIRCLE], scripted)
    return augmenter(CIRCLE, 8).prompts[len(CIRCLE) :]


@pytest.fixture(scope="module")
def prompts() -> tuple[Prompt, ...]:
    return draw_suite(Suite.CALIBRATION, 300, seed=4)


@pytest.fixture
def space(prompts: tuple[Prompt, ...]) -> PromptSpace:
    return PromptSpace(reference=tuple(p.text for p in prompts), embed=bag_of_words)


def test_aspects_are_read_from_the_words() -> None:
    text = "a dog barks loudly, then a bell tolls far away"
    assert aspects_of(text) == {"in turn", "loud", "far", "two events", "medium"}
    assert ("animal", "loud") in cells_of(text)
    assert ("music", "in turn") in cells_of(text)
    assert cells_of("the colour blue") == frozenset()
    assert {"repeated", "slow", "one event"} <= aspects_of("a dog barks slowly again and again")


def test_the_whole_reference_covers_itself(space: PromptSpace) -> None:
    found = space.coverage(space.reference)
    assert found.near == 1.0
    assert found.radius == pytest.approx(0.0, abs=1e-5)
    nothing = space.coverage(())
    assert (nothing.near, nothing.radius, nothing.cells) == (0.0, 2.0, 0.0)


def test_coverage_grows_with_the_set(space: PromptSpace) -> None:
    found = [space.coverage(space.reference[:n]) for n in (5, 20, 80, 300)]
    for less, more in pairwise(found):
        assert more.near >= less.near
        assert more.radius <= less.radius + 1e-6
        assert more.cells >= less.cells


def test_a_reference_of_few_prompts_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 8 different reference prompts, got 1"):
        PromptSpace(reference=("rain",) * 20, embed=bag_of_words)


def test_chosen_prompts_cover_more_than_random_ones(space: PromptSpace) -> None:
    chosen = choose_prompts(space, space.reference, 32)
    assert len(set(chosen)) == 32
    assert choose_prompts(space, space.reference, 32) == chosen
    rng = np.random.default_rng(0)
    goal = coverage_goal(space, space.reference, 32)
    own = sum(lazy_greedy(goal, len(space.reference), 32)[1])

    def value(indices: NDArray[np.int64]) -> float:
        fresh, total = coverage_goal(space, space.reference, 32), 0.0
        for index in indices:
            total += fresh.gain(int(index))
            fresh.add_(int(index))
        return total

    draws = [rng.choice(len(space.reference), 32, replace=False) for _ in range(20)]
    assert own > max(value(draw) for draw in draws)
    random_cells = [space.coverage([space.reference[i] for i in draw]).cells for draw in draws]
    assert space.coverage(chosen).cells > max(random_cells)


def test_augmentation_fills_what_the_seeds_leave_out(
    space: PromptSpace, prompts: tuple[Prompt, ...]
) -> None:
    dogs = ("a dog barks", "a dog barks loudly", "a  Dog barks", "a dog barks far away")
    grown = Augmenter(space, prompts, variator(0))(dogs, 40)
    assert grown.prompts[0] == "a dog barks"
    assert "a  Dog barks" not in grown.prompts, "the same text in other spaces"
    assert len(grown.prompts) <= 160
    before, after = grown.rounds[0], grown.rounds[-1]
    assert after.near > before.near + 0.2
    assert after.cells > 0.7 > before.cells
    assert [r.near for r in grown.rounds] == sorted(r.near for r in grown.rounds)
    again = Augmenter(space, prompts, variator(0))(dogs, 40)
    assert again.prompts == grown.prompts


def test_many_seeds_are_augmented_too(space: PromptSpace, prompts: tuple[Prompt, ...]) -> None:
    dogs = [p.text for p in prompts if "dog" in p.text]
    seeds = without_twins((*dogs, *(f"a dog barks {word}" for word in CIRCLE)), space)
    count = len(seeds) // 4
    grown = Augmenter(space, prompts, variator(0))(seeds, count)
    assert len(seeds) >= 4 * count, "more than enough to choose from, and all of one kind"
    assert len(grown.prompts) == len(seeds) + count
    assert grown.rounds[-1].cells > grown.rounds[0].cells


@pytest.mark.parametrize(
    ("cosine", "taken"),
    [(0.91, False), (0.89, True), (0.72, True), (0.69, False)],
    ids=["twin", "barely new", "barely the model's own", "stray"],
)
def test_a_candidate_is_taken_if_it_is_new_and_still_the_models_own(
    cosine: float, *, taken: bool
) -> None:
    assert accepted({"the dog barks": above("red", cosine)}) == ("the dog barks",) * taken


def test_a_candidate_that_adds_nothing_is_refused() -> None:
    found = accepted({"yellow": above("red", 0.8), "the dog barks": above("blue", 0.8)})
    assert found == ("the dog barks",), "yellow names no sound, and short prompts abound"
    strays = {f"stray {index}": above("red", 0.5) for index in range(100)}
    assert not accepted({"yellow": above("red", 0.8), **strays}), "however many were looked at"


def test_what_a_candidate_adds_counts_beside_those_taken_before_it() -> None:
    found = accepted({"the dog barks": above("red", 0.8), "one dog barks": above("pink", 0.8)})
    assert found == ("the dog barks",), "the second fills cells that the first has filled"


def test_a_twin_of_a_candidate_taken_before_it_is_refused() -> None:
    same = above("red", 0.8)
    assert accepted({"the dog barks": same, "the bell tolls": same}) == ("the dog barks",)
    apart = accepted({"the dog barks": same, "the bell tolls": above("pink", 0.8)})
    assert apart == ("the dog barks", "the bell tolls")


def test_nothing_of_the_final_suite_is_made_up(prompts: tuple[Prompt, ...]) -> None:
    made_by = variator(1)
    scenes = [p.scene for p in prompts if p.scene is not None]
    made = [p for scene in scenes[:20] for p in islice(made_by.near(scene), 10)]
    assert {suite_of(prompt) for prompt in made} == {Suite.CALIBRATION}
    texts = [prompt.text for prompt in made]
    assert len(set(texts)) > 0.7 * len(texts)
    for cell in (("animal", "fast"), ("nature", "at once")):
        wanted = list(islice(made_by.with_cell(cell), 3))
        assert wanted
        assert all(cell in cells_of(p.text) for p in wanted)
        assert {suite_of(prompt) for prompt in wanted} == {Suite.CALIBRATION}
    assert not list(made_by.with_cell(("animal", "echoing"))), "the grammar never says it"


def test_twins_are_dropped(space: PromptSpace) -> None:
    texts = ("rain falls", " Rain  falls ", "", "wind blows", "rain falls")
    assert without_twins(texts, space) == ("rain falls", "wind blows")


def test_an_adm_embeds_a_prompt_the_same_in_any_company(tiny_adm: AudioLDM) -> None:
    both = embed_prompts(tiny_adm, ["a dog barks", "rain"])
    assert both.shape[0] == 2
    assert both.dtype == np.float32
    assert np.array_equal(embed_prompts(tiny_adm, ["rain"])[0], both[1])
