"""What no choice among mask proposals can exceed, and what a choice without looking comes to."""

import hashlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from car.data import ReferringDataset, Target
from car.evaluate.referring_record import Answer, ReferringRecord, TargetRecord
from car.metrics.referring import overlap
from car.referring.proposals import MaskProposals, ProposalSource

Rule = Callable[[MaskProposals, Target, str], int]
"""Which proposal is chosen for a target; the text is unique to the expression."""


def best(proposals: MaskProposals, target: Target, name: str) -> int:
    """The proposal with the highest IoU with the truth; of equal ones the smallest."""
    shared = np.count_nonzero(proposals.masks & target.mask, axis=(1, 2))
    ious = shared / (proposals.areas + target.mask.sum() - shared)
    return int(np.lexsort((proposals.areas, -ious))[0])


def any_one(proposals: MaskProposals, target: Target, name: str) -> int:
    """One at random, always the same for the same expression."""
    digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest()
    return int(np.random.default_rng(int.from_bytes(digest)).integers(len(proposals)))


def records_of(
    rule: Rule, dataset: ReferringDataset, keys: Iterable[str], source: ProposalSource
) -> Iterator[ReferringRecord]:
    """A record for each picture, as if the rule were a method that chooses among what a source proposes."""
    for key in keys:
        truth = dataset.read(key)
        proposals = source(truth.image, stem=key)
        targets = tuple(answered(rule, proposals, target, key) for target in truth.targets)
        yield ReferringRecord(key, len(proposals), targets)


def answered(rule: Rule, proposals: MaskProposals, target: Target, key: str) -> TargetRecord:
    """The rule's answers to the expressions for a target; without proposals, or of a blank one, nothing is found."""
    answers = []
    for number, text in enumerate(target.expressions):
        mask, found = np.zeros_like(target.mask), bool(len(proposals)) and bool(text.strip())
        if found:
            mask = proposals.masks[rule(proposals, target, f"{key}\n{target.id}\n{number}")]
        each = overlap(mask, target.mask, no_target=target.no_target)
        answers.append(Answer(each.intersection, each.union, found, bool(text.strip()) and not found))
    return TargetRecord(target.id, target.no_target, tuple(answers))
