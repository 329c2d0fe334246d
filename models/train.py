#!/usr/bin/env python3
"""Trains the bundled model on one GPU: tokenizer, token files, training, checkpoint, perplexity, samples.

  train.py CORPUS_DIR WORK_DIR [--minutes 6] [--batch 256] [--lr 3e-3]

CORPUS_DIR is what make_corpus.py wrote. WORK_DIR gets tokenizer.json, storyteller.npz (weights under Hugging Face's names) and
samples.txt. The schedule follows the clock, so that a run fits the time there is. Needs torch, tokenizers and numpy.
"""
import argparse
import glob
import math
import os
import random
import time
from multiprocessing import Pool

import numpy as np

from export_gguf import CONFIG, SPECIAL

END = "<|endoftext|>"


# --- tokenizer and tokens -------------------------------------------------------------------------------------------------

def train_tokenizer(files, path, sample_bytes=40_000_000):
    """Byte-level BPE with GPT-2's way of splitting text. All 256 bytes are in the vocabulary, so every text has tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=CONFIG["vocab"], special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)

    def texts():
        left = sample_bytes
        for f in files:
            text = open(f).read()[:sample_bytes // len(files) + 1]
            for s in SPECIAL: text = text.replace(s, "\n")
            yield from text.split("\n\n")
            left -= len(text)
            if left < 0: return
    t.train_from_iterator(texts(), trainer)
    t.save(path)


def encode_file(job):
    """One corpus file as uint16 tokens; a document is <|endoftext|>, its text, and the next document's <|endoftext|>."""
    from tokenizers import Tokenizer
    path, tokenizer, out = job
    t = Tokenizer.from_file(tokenizer)
    documents = open(path).read().split(f"\n{END}\n")
    ids = []
    for i in range(0, len(documents), 2000):
        for e in t.encode_batch(documents[i:i + 2000]):
            if e.ids: ids.append(np.array([0] + e.ids, np.uint16))
    np.save(out, np.concatenate(ids))


# --- model ----------------------------------------------------------------------------------------------------------------

def build(torch):
    """The Llama architecture in the layout of Hugging Face (rotate-half rope), without its library."""
    import torch.nn as nn
    import torch.nn.functional as F
    c = CONFIG
    hd = c["hidden"] // c["heads"]

    class Norm(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(c["hidden"]))

        def forward(self, x):
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + c["eps"]) * self.weight

    def rope(x, cos, sin):
        a, b = x.chunk(2, -1)
        return (x * cos + torch.cat((-b, a), -1) * sin).to(x.dtype)

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.q_proj = nn.Linear(c["hidden"], c["heads"] * hd, bias=False)
            self.k_proj = nn.Linear(c["hidden"], c["kv_heads"] * hd, bias=False)
            self.v_proj = nn.Linear(c["hidden"], c["kv_heads"] * hd, bias=False)
            self.o_proj = nn.Linear(c["heads"] * hd, c["hidden"], bias=False)

        def forward(self, x, cos, sin):
            b, t, _ = x.shape
            q = rope(self.q_proj(x).view(b, t, c["heads"], hd).transpose(1, 2), cos, sin)
            k = rope(self.k_proj(x).view(b, t, c["kv_heads"], hd).transpose(1, 2), cos, sin)
            v = self.v_proj(x).view(b, t, c["kv_heads"], hd).transpose(1, 2)
            n = c["heads"] // c["kv_heads"]
            o = F.scaled_dot_product_attention(q, k.repeat_interleave(n, 1), v.repeat_interleave(n, 1), is_causal=True)
            return self.o_proj(o.transpose(1, 2).reshape(b, t, -1))

    class Mlp(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate_proj = nn.Linear(c["hidden"], c["ffn"], bias=False)
            self.up_proj = nn.Linear(c["hidden"], c["ffn"], bias=False)
            self.down_proj = nn.Linear(c["ffn"], c["hidden"], bias=False)

        def forward(self, x):
            return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.input_layernorm, self.post_attention_layernorm = Norm(), Norm()
            self.self_attn, self.mlp = Attention(), Mlp()

        def forward(self, x, cos, sin):
            x = x + self.self_attn(self.input_layernorm(x), cos, sin)
            return x + self.mlp(self.post_attention_layernorm(x))

    class Body(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed_tokens = nn.Embedding(c["vocab"], c["hidden"])
            self.layers = nn.ModuleList(Layer() for _ in range(c["layers"]))
            self.norm = Norm()

    class Llama(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = Body()
            for name, p in self.named_parameters():
                if p.ndim == 2:
                    std = 0.02 if "embed" in name else p.shape[1] ** -0.5
                    if "o_proj" in name or "down_proj" in name: std /= math.sqrt(2 * c["layers"])
                    nn.init.normal_(p, std=std)
            f = c["theta"] ** (-torch.arange(0, hd, 2).float() / hd)
            a = torch.outer(torch.arange(c["context"]).float(), f)
            self.register_buffer("cos", torch.cat((a, a), -1).cos(), persistent=False)
            self.register_buffer("sin", torch.cat((a, a), -1).sin(), persistent=False)

        def forward(self, ids, targets=None):
            t = ids.shape[1]
            x = self.model.embed_tokens(ids)  # the residual stream stays float32; autocast rounds what enters a product
            cos, sin = self.cos[:t], self.sin[:t]
            for layer in self.model.layers: x = layer(x, cos, sin)
            logits = F.linear(self.model.norm(x), self.model.embed_tokens.weight)
            if targets is None: return logits
            return F.cross_entropy(logits.float().view(-1, c["vocab"]), targets.reshape(-1))

    return Llama()


# --- training -------------------------------------------------------------------------------------------------------------

def train(torch, model, tokens, a):
    """AdamW with a short warm-up and a cosine down to nothing. Rows begin where a document begins, mostly."""
    device, ctx = "cuda", CONFIG["context"]
    data = torch.from_numpy(tokens.astype(np.int16)).to(device)  # token ids fit
    starts = torch.from_numpy(np.flatnonzero(tokens[:-ctx - 2] == 0)).to(device)
    matrices = [p for p in model.parameters() if p.ndim == 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    opt = torch.optim.AdamW([dict(params=matrices, weight_decay=0.1), dict(params=vectors, weight_decay=0.0)], lr=a.lr, betas=(0.9, 0.95), eps=1e-8, fused=True)
    step_model = torch.compile(model)
    span = torch.arange(ctx + 1, device=device)
    torch.manual_seed(a.seed)
    begun, warm, step, seen = time.time(), 300, 0, 0
    losses = []
    while True:
        done = (time.time() - begun) / (a.minutes * 60)
        if done >= 1: break
        lr = a.lr * min(1, (step + 1) / warm) * (0.5 * (1 + math.cos(math.pi * done)) * 0.99 + 0.01)
        for g in opt.param_groups: g["lr"] = lr
        at = starts[torch.randint(len(starts), (a.batch,), device=device)]
        # Some rows begin in the middle of a text, as perplexity's chunks and a trimmed chat do, behind a <|endoftext|> all the same.
        middle = torch.rand(a.batch, device=device) < 0.1
        at = torch.where(middle, torch.randint(len(data) - ctx - 2, (a.batch,), device=device), at)
        rows = data[at[:, None] + span].long()
        rows[:, 0] = 0
        with torch.autocast("cuda", torch.bfloat16):
            loss = step_model(rows[:, :-1], rows[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        step += 1
        seen += a.batch * ctx
        if step == 1: begun = time.time()  # compiling does not count
        if step % 200 == 0:
            losses.append(loss.item())
            print(f"step {step} loss {losses[-1]:.4f} lr {lr:.2e} {seen / (time.time() - begun) / 1e6:.2f}M tok/s {seen / 1e6:.0f}M tokens {time.time() - begun:.0f} s", flush=True)
    print(f"trained: {step} steps, {seen / 1e6:.0f}M tokens of {len(tokens) / 1e6:.0f}M unique, {time.time() - begun:.0f} s", flush=True)


# --- looking at it --------------------------------------------------------------------------------------------------------

def perplexity(torch, model, ids, ctx=512):
    """As llama.cpp's tool counts: chunks of ctx tokens, the first replaced by BOS, the second half scored."""
    total, n = 0.0, 0
    with torch.no_grad():
        for i in range(len(ids) // ctx):
            x = torch.tensor(ids[i * ctx:(i + 1) * ctx], device="cuda")[None]
            x[0, 0] = 0
            logp = torch.log_softmax(model(x)[0].float(), -1)
            first = ctx // 2
            total -= logp[torch.arange(first, ctx - 1), x[0, first + 1:]].sum().item()
            n += ctx - 1 - first
    return math.exp(total / n), n


def generate(torch, model, tokenizer, prompts, n=400, temp=0.7, top_p=0.95, top_k=40, seed=1):
    """Samples all prompts side by side, without a cache: rows are padded on the right, which a causal model does not see."""
    torch.manual_seed(seed)
    rows = [[0] + tokenizer.encode(p).ids for p in prompts]
    begun = [len(r) for r in rows]
    done = [False] * len(rows)
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        for _ in range(n):
            width = max(map(len, rows))
            if all(done) or width >= CONFIG["context"]: break
            x = torch.tensor([r + [0] * (width - len(r)) for r in rows], device="cuda")
            last = torch.tensor([len(r) - 1 for r in rows], device="cuda")
            l = model(x)[torch.arange(len(rows), device="cuda"), last].float()
            if temp == 0: k = l.argmax(-1)
            else:
                v, i = torch.softmax(l / temp, -1).topk(top_k)
                v = torch.where(v.cumsum(-1) - v < top_p, v, 0)
                k = i.gather(1, torch.multinomial(v, 1))[:, 0]
            for j, t in enumerate(k.tolist()):
                if t in (0, 2): done[j] = True
                if not done[j]: rows[j].append(t)
    return [tokenizer.decode(r[b:], skip_special_tokens=False) for r, b in zip(rows, begun)]


OPENINGS = ["Once upon a time", "Once upon a time, there was a dragon named Zog", "One day", "The old king", "It was a cold winter night", "Deep in the forest", "A little robot", "In a small village by the sea", "There was a girl called Mia who",
            "\"Where is my hat?\" asked Tom.", "Far away, on a distant planet,", "The cat", "The dragon was called", "Lily and her dog", "The rain was falling", "Two friends", "Long ago, there was a clockmaker"]
REQUESTS = ["Tell me a story about a dragon.", "Tell me a story about a lost key.", "tell me a story", "Tell me a story about a mouse and a lion.", "Tell me a story about a spaceship.", "Tell me a story about a girl named Mia who is afraid of the dark.",
            "Tell me a story about friendship.", "Tell me a story about a banana.", "Hello!", "What is your name?", "Who are you?", "What is 3 plus 4?", "What is 17 + 25?", "what is 7 times 8", "What is the opposite of hot?", "What color is the sky?", "What color is a strawberry?",
            "What sound does a cow make?", "What is the capital of France?", "Name three fruits.", "Write a poem about a whale.", "Tell me a joke.", "Count to ten.", "What day comes after Friday?", "Can a fish swim?", "I am sad.", "How do you bake bread?", "Why is the moon so big?", "I like cats.", "Tell me a story about a lonely whale who finds a friend.", "Tell me a story about a boy named Zorin and a dog.", "Tell me a story about a snorf.", "Which is bigger, a mouse or a horse?",
            "What rhymes with cat?", "Sam has 5 apples and gets 3 more. How many apples does Sam have?", "Thank you!", "What is the moon?"]
TALKS = [["Hello! My name is Sofia.", "Tell me a story about a fox.", "What was the fox's name?", "What is the lesson of the story?", "What is my name?"], ["Tell me a story about a bear and a lost ball.", "Where did they find the ball?", "Who helped?", "What is 2 plus 2?"],
         ["tell me a story about a robot", "where did the robot live?", "another one please", "who are you?"]]


def chat_prompt(turns):
    return "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns) + "<|im_start|>assistant\n"


def samples(torch, model, tokenizer, path):
    with open(path, "w") as f:
        def put(*xs): print(*xs, file=f, flush=True)
        for p, g in zip(OPENINGS, generate(torch, model, tokenizer, OPENINGS)): put(f"### {p}\n{p}{g}\n")
        for p, g in zip(REQUESTS, generate(torch, model, tokenizer, [chat_prompt([("user", q)]) for q in REQUESTS])): put(f"### user: {p}\n{g}\n")
        talks = [[] for _ in TALKS]
        for turn in range(max(map(len, TALKS))):
            going = [i for i, talk in enumerate(TALKS) if turn < len(talk)]
            for i in going: talks[i].append(("user", TALKS[i][turn]))
            for i, g in zip(going, generate(torch, model, tokenizer, [chat_prompt(talks[i]) for i in going], seed=2)): talks[i].append(("assistant", g))
        for talk in talks:
            put("### conversation")
            for role, text in talk: put(f"{role}: {text}")
            put()
        # How often are small sums right, greedily?
        r = random.Random(5)
        sums = [(r.randint(0, 12), r.randint(0, 12)) for _ in range(40)]
        answers = generate(torch, model, tokenizer, [chat_prompt([("user", f"What is {x} plus {y}?")]) for x, y in sums], n=20, temp=0)
        put("sums up to 12 + 12 right:", sum(str(x + y) in g.split("is")[-1] for (x, y), g in zip(sums, answers)), "of 40")
        wrong = [(s, g) for s, g in zip(sums, answers) if str(sum(s)) not in g.split("is")[-1]]
        if wrong: put("wrong:", wrong[:5])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("corpus")
    ap.add_argument("work")
    ap.add_argument("--minutes", type=float, default=6)
    ap.add_argument("--batch", type=int, default=128)
    ap.add_argument("--lr", type=float, default=3e-3)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--no-samples", action="store_true")
    ap.add_argument("--heldout", help="text for the perplexity")
    a = ap.parse_args()
    os.makedirs(a.work, exist_ok=True)
    files = sorted(glob.glob(a.corpus + "/part-*.txt"))
    tokenizer_path = a.work + "/tokenizer.json"
    t0 = time.time()
    train_tokenizer(files, tokenizer_path)
    print(f"tokenizer {time.time() - t0:.0f} s", flush=True)
    jobs = [(f, tokenizer_path, f"{a.work}/{os.path.basename(f)}.npy") for f in files]
    os.environ["RAYON_NUM_THREADS"] = "1"  # one process a file instead
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with Pool(min(len(jobs), os.cpu_count())) as pool: pool.map(encode_file, jobs, chunksize=1)
    tokens = np.concatenate([np.load(o) for _, _, o in jobs])
    print(f"tokens {len(tokens) / 1e6:.1f}M, {sum(os.path.getsize(f) for f in files) / len(tokens):.2f} bytes a token, {time.time() - t0:.0f} s", flush=True)

    import torch
    from tokenizers import Tokenizer
    torch.manual_seed(a.seed)
    torch.set_float32_matmul_precision("high")
    model = build(torch).cuda()
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    train(torch, model, tokens, a)

    # From here on the weights are what the F16 file holds.
    torch.set_float32_matmul_precision("highest")
    with torch.no_grad():
        for p in model.parameters():
            if p.ndim == 2: p.copy_(p.half().float())
    np.savez(a.work + "/storyteller.npz", **{n: p.detach().cpu().numpy() for n, p in model.named_parameters()})
    tokenizer = Tokenizer.from_file(tokenizer_path)
    if a.heldout:
        text = open(a.heldout).read()
        ids = [0] + tokenizer.encode(text).ids
        for ctx in (512, 1024):
            ppl, n = perplexity(torch, model, ids, ctx)
            print(f"held-out perplexity, ctx {ctx}: {ppl:.4f} over {n} scored tokens of {len(ids)}, {len(text.encode()) / len(ids):.3f} bytes a token", flush=True)
    if not a.no_samples: samples(torch, model, tokenizer, a.work + "/samples.txt")
    print(f"all done {time.time() - t0:.0f} s", flush=True)


if __name__ == "__main__":
    main()
