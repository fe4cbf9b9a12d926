"""Train BERT on masked-language modelling."""

from __future__ import annotations

import argparse
import math

import torch
from torch import nn
from transformers import BertConfig, BertForMaskedLM

from benchmate.arguments import some_of
from benchmate.data import Synthetic, loader
from benchmate.training import PRECISIONS, Training

# Sizes of Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers (2018): layers, width, heads.
SIZES = {"Bert": (12, 768, 12), "Bert_large": (24, 1024, 16)}
FEED_FORWARD = 4  # times the width
OPTIMIZATIONS = ("fused", "inductor")

# The paper's section 3.1: of the tokens chosen, 80 % become [MASK], 10 % a random token, 10 % stay what they are.
CHOSEN, MASKED, REPLACED = 0.15, 0.8, 0.1
CLS, SEP, MASK, FIRST_WORD = 101, 102, 103, 104  # ids of the uncased vocabulary; what lies below 104 is special
IGNORED = -100  # a label that makes no loss
WEIGHT_DECAY, BETAS = 0.01, (0.9, 0.999)

Sample = tuple[torch.Tensor, torch.Tensor]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=SIZES, default="Bert", help="a size of the paper")
    parser.add_argument("--layers", type=int, help="instead of the model's number of layers")
    parser.add_argument("--hidden-size", type=int, help="instead of the model's width")
    parser.add_argument("--heads", type=int, help="instead of the model's number of attention heads")
    parser.add_argument("--vocab-size", type=int, default=30522, help="tokens in the vocabulary")
    parser.add_argument("--seq-length", type=int, default=512, help="tokens in a sample")
    parser.add_argument("--batch-size", type=int, default=16, help="samples in a step")
    parser.add_argument("--lr", type=float, default=1e-4, help="constant: a measurement ends before a warm-up would")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="fp16 runs as bf16 on a CPU")
    parser.add_argument(
        "--optim", type=some_of(*OPTIMIZATIONS), default=(), help="fused (AdamW), inductor, or both: a,b"
    )
    parser.add_argument("--num-workers", type=int, default=8, help="processes that load samples; 0 loads in this one")
    parser.add_argument("--num-samples", type=int, default=1024, help="different samples; as many as a batch fix it")
    args = parser.parse_args()
    if args.vocab_size <= FIRST_WORD:
        parser.error(f"--vocab-size must be more than {FIRST_WORD}, the number of special tokens")
    if args.seq_length < 3:
        parser.error("--seq-length must be at least 3: a sample begins with [CLS] and ends with [SEP]")
    return args


def words(count: int, vocabulary: int, generator: torch.Generator) -> torch.Tensor:
    """Return ids of words as frequent as words are: the n-th with a probability of about 1/n (Zipf)."""
    ranks = torch.exp(torch.rand(count, generator=generator) * math.log(vocabulary - FIRST_WORD))
    return FIRST_WORD - 1 + ranks.long()


def sample(length: int, vocabulary: int, generator: torch.Generator) -> Sample:
    """Return token ids with some of them masked, and the labels of those; both int64 of shape (length,).

    Every sample has as many masked tokens, so that every step is the same work.
    """
    tokens = torch.cat((torch.tensor([CLS]), words(length - 2, vocabulary, generator), torch.tensor([SEP])))
    chosen = 1 + torch.randperm(length - 2, generator=generator)[: max(1, round(CHOSEN * (length - 2)))]
    labels = torch.full((length,), IGNORED)
    labels[chosen] = tokens[chosen]
    mask, replace, _ = chosen.tensor_split((round(MASKED * len(chosen)), round((MASKED + REPLACED) * len(chosen))))
    tokens[mask] = MASK
    tokens[replace] = torch.randint(FIRST_WORD, vocabulary, (len(replace),), generator=generator)
    return tokens, labels


def bert(args: argparse.Namespace) -> BertForMaskedLM:
    """Return the model with random weights, dropout included as in the paper; nothing is downloaded."""
    layers, width, heads = SIZES[args.model]
    width = args.hidden_size or width
    config = BertConfig(
        vocab_size=args.vocab_size,
        hidden_size=width,
        num_hidden_layers=args.layers or layers,
        num_attention_heads=args.heads or heads,
        intermediate_size=FEED_FORWARD * width,
        max_position_embeddings=max(512, args.seq_length),
    )
    return BertForMaskedLM(config)


def main() -> None:
    args = options()
    training = Training(unit="samples", precision=args.precision)
    observer = training.observer

    model: nn.Module = bert(args).to(training.device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=args.lr, betas=BETAS, weight_decay=WEIGHT_DECAY, fused="fused" in args.optim
    )
    observer.optimizer(optimizer)
    if "inductor" in args.optim:
        model = torch.compile(model)
    data = Synthetic(
        lambda generator: sample(args.seq_length, args.vocab_size, generator),
        length=max(100 * args.batch_size, args.num_samples),
        distinct=args.num_samples,
    )
    batches = loader(data, batch_size=args.batch_size, workers=args.num_workers, device=training.device)

    while True:  # until the suite's limit
        for batch in observer.iterate(batches):
            tokens, labels = training.moved(batch)
            with training.autocast():
                loss = model(input_ids=tokens, labels=labels).loss  # mean over the chosen tokens
            observer.record_loss(loss)
            training.update(loss, optimizer)


if __name__ == "__main__":
    main()
