#!/usr/bin/env python3
"""Makes the fixtures of this folder with transformers in float32 on the CPU; needs torch, transformers, tokenizers, numpy.

  make_goldens.py [OUT_DIR] [--models DIR] [--tokenizer TOKENIZER.json]

For each small random model: NAME.gguf (F32), NAME.tokens.txt (the input ids) and NAME.logits.bin (float32 little-endian,
[tokens, vocab]) as transformers computes them. For the bundled model: storyteller.tokens.txt, storyteller.logits.bin (all rows),
from the weights that storyteller-f16.gguf holds, widened to float32. storyteller.tok.jsonl has texts with the ids that the
tokenizers library gives them, without special tokens being recognised and without BOS.
"""
import argparse
import json
import math
import os
import random
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../models"))
from gguf_writer import BOOL, F32, I32, STR, U32, Writer, permute_rope, read, unpermute_rope  # noqa: E402

CASES = {
    # name: architecture and shape. Each case is there for what it can catch.
    "llama-gqa-tied": dict(arch="llama", hidden=64, layers=2, heads=4, kv=2, ffn=96, vocab=128, tied=True, n=20),
    "llama-mha-odd": dict(arch="llama", hidden=40, layers=1, heads=1, kv=1, ffn=56, vocab=97, tied=False, n=17),
    "llama-rope3": dict(arch="llama", hidden=64, layers=2, heads=4, kv=1, ffn=96, vocab=96, tied=True, n=90, theta=500000.0, context=512,
                        rope=dict(factor=8.0, low=1.0, high=4.0, original=64)),
    "qwen2-tied": dict(arch="qwen2", hidden=64, layers=2, heads=4, kv=2, ffn=96, vocab=120, tied=True, n=20, theta=1000000.0, eps=1e-6),
    "qwen2-untied": dict(arch="qwen2", hidden=48, layers=2, heads=3, kv=1, ffn=80, vocab=101, tied=False, n=20, theta=1000000.0, eps=1e-6),
}


def hf_model(c, torch):
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM
    rope = {"rope_type": "default", "rope_theta": c.get("theta", 10000.0)}
    if "rope" in c:
        s = c["rope"]
        rope.update(rope_type="llama3", factor=s["factor"], low_freq_factor=s["low"], high_freq_factor=s["high"], original_max_position_embeddings=s["original"])
    kw = dict(hidden_size=c["hidden"], num_hidden_layers=c["layers"], num_attention_heads=c["heads"], num_key_value_heads=c["kv"], intermediate_size=c["ffn"], vocab_size=c["vocab"],
              tie_word_embeddings=c["tied"], max_position_embeddings=c.get("context", 512), rms_norm_eps=c.get("eps", 1e-5), rope_parameters=rope, attn_implementation="eager",
              bos_token_id=1, eos_token_id=2, pad_token_id=None)
    if c["arch"] == "llama": model = LlamaForCausalLM(LlamaConfig(head_dim=c["hidden"] // c["heads"], **kw))
    else: model = Qwen2ForCausalLM(Qwen2Config(use_sliding_window=False, **kw))
    return model.float().eval()


def randomize(model, c, torch, seed):
    """Weights at a scale where attention is not flat, norms matter, biases matter, and logits spread by more than 1."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            x = torch.randn(p.shape, generator=g)
            if "norm" in name: p.copy_(1 + 0.2 * x)
            elif name.endswith("bias"): p.copy_(0.5 * x)
            elif "embed_tokens" in name: p.copy_(x * (2.0 / math.sqrt(c["hidden"]) if c["tied"] else 0.7))
            elif "q_proj" in name or "k_proj" in name: p.copy_(x * (1.5 / math.sqrt(p.shape[1])))
            else: p.copy_(x * (1.2 / math.sqrt(p.shape[1])))


def rope_factors(c):
    """The divisors of the rotation frequencies, as llama.cpp's converter derives them from Llama 3's four numbers."""
    s, dim = c["rope"], c["hidden"] // c["heads"]
    out = []
    for i in range(0, dim, 2):
        freq = 1.0 / c["theta"] ** (i / dim)
        wave = 2 * math.pi / freq
        if wave < s["original"] / s["high"]: out.append(1.0)
        elif wave > s["original"] / s["low"]: out.append(s["factor"])
        else:
            smooth = (s["original"] / wave - s["low"]) / (s["high"] - s["low"])
            out.append(1 / ((1 - smooth) / s["factor"] + smooth))
    return np.array(out, np.float32)


def write_case(path, name, c, model):
    w, a = Writer(), c["arch"]
    w.key("general.architecture", STR, a)
    w.key("general.name", STR, name)
    w.key("general.file_type", U32, 0)
    for k, v in (("vocab_size", c["vocab"]), ("context_length", c.get("context", 512)), ("embedding_length", c["hidden"]), ("block_count", c["layers"]), ("feed_forward_length", c["ffn"]),
                 ("attention.head_count", c["heads"]), ("attention.head_count_kv", c["kv"])): w.key(f"{a}.{k}", U32, v)
    if a == "llama": w.key("llama.rope.dimension_count", U32, c["hidden"] // c["heads"])
    w.key(f"{a}.attention.layer_norm_rms_epsilon", F32, c.get("eps", 1e-5))
    w.key(f"{a}.rope.freq_base", F32, c.get("theta", 10000.0))
    tokens = ["<unk>", "<s>", "</s>", "\u2581"] + [chr(i) for i in range(33, 127)]
    tokens = (tokens + [f"\u2581w{i}" for i in range(c["vocab"])])[:c["vocab"]]
    w.key("tokenizer.ggml.model", STR, "llama")
    w.key("tokenizer.ggml.pre", STR, "default")
    w.array("tokenizer.ggml.tokens", STR, tokens)
    w.array("tokenizer.ggml.scores", F32, [0.0] * 3 + [-float(i) for i in range(len(tokens) - 3)])
    w.array("tokenizer.ggml.token_type", I32, [2, 3, 3] + [1] * (len(tokens) - 3))
    for k, v in (("bos", 1), ("eos", 2), ("unknown", 0)): w.key(f"tokenizer.ggml.{k}_token_id", U32, v)
    w.key("tokenizer.ggml.add_bos_token", BOOL, True)
    w.key("tokenizer.ggml.add_eos_token", BOOL, False)

    t = {n: p.detach().numpy() for n, p in model.state_dict().items()}
    put = lambda n, x: w.tensor(n, x, "f32")
    # Llama's Q and K go to the interleaved order; qwen2 keeps the halves (NEOX rope).
    turn = permute_rope if a == "llama" else lambda x, heads: x
    put("token_embd.weight", t["model.embed_tokens.weight"])
    if "rope" in c: put("rope_freqs.weight", rope_factors(c))
    for i in range(c["layers"]):
        p, b = f"model.layers.{i}.", f"blk.{i}."
        put(b + "attn_norm.weight", t[p + "input_layernorm.weight"])
        for gg, hf, heads in (("attn_q", "q_proj", c["heads"]), ("attn_k", "k_proj", c["kv"]), ("attn_v", "v_proj", 0)):
            x = t[p + f"self_attn.{hf}.weight"]
            put(f"{b}{gg}.weight", turn(x, heads) if heads else x)
            if a == "qwen2": put(f"{b}{gg}.bias", t[p + f"self_attn.{hf}.bias"])
        put(b + "attn_output.weight", t[p + "self_attn.o_proj.weight"])
        put(b + "ffn_norm.weight", t[p + "post_attention_layernorm.weight"])
        for gg, hf in (("ffn_gate", "gate_proj"), ("ffn_up", "up_proj"), ("ffn_down", "down_proj")): put(f"{b}{gg}.weight", t[p + f"mlp.{hf}.weight"])
    put("output_norm.weight", t["model.norm.weight"])
    if not c["tied"]: put("output.weight", t["lm_head.weight"])
    w.save(path)


def logits_of(model, ids, torch):
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0].float().numpy().astype("<f4")


def save(out, name, ids, logits):
    logits.tofile(f"{out}/{name}.logits.bin")
    with open(f"{out}/{name}.tokens.txt", "w") as f: f.write(" ".join(map(str, ids)) + "\n")
    print(f"{name}: logits {logits.shape}, std {logits.std():.3f}, max {np.abs(logits).max():.3f}", flush=True)


def bundled(out, path, torch):
    """The committed F16 file read back, its Q and K turned back, in transformers' own Llama."""
    meta, t = read(path)
    m = lambda k: meta["llama." + k]
    c = dict(arch="llama", hidden=m("embedding_length"), layers=m("block_count"), heads=m("attention.head_count"), kv=m("attention.head_count_kv"), ffn=m("feed_forward_length"),
             vocab=len(meta["tokenizer.ggml.tokens"]), tied=True, context=m("context_length"), theta=m("rope.freq_base"), eps=m("attention.layer_norm_rms_epsilon"))
    model = hf_model(c, torch)
    sd = {"model.embed_tokens.weight": t["token_embd.weight"], "lm_head.weight": t["token_embd.weight"], "model.norm.weight": t["output_norm.weight"]}
    for i in range(c["layers"]):
        p, b = f"model.layers.{i}.", f"blk.{i}."
        sd[p + "input_layernorm.weight"] = t[b + "attn_norm.weight"]
        sd[p + "post_attention_layernorm.weight"] = t[b + "ffn_norm.weight"]
        sd[p + "self_attn.q_proj.weight"] = unpermute_rope(t[b + "attn_q.weight"], c["heads"])
        sd[p + "self_attn.k_proj.weight"] = unpermute_rope(t[b + "attn_k.weight"], c["kv"])
        sd[p + "self_attn.v_proj.weight"] = t[b + "attn_v.weight"]
        sd[p + "self_attn.o_proj.weight"] = t[b + "attn_output.weight"]
        for hf, gg in (("gate_proj", "ffn_gate"), ("up_proj", "ffn_up"), ("down_proj", "ffn_down")): sd[p + f"mlp.{hf}.weight"] = t[b + gg + ".weight"]
    model.load_state_dict({k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in sd.items()}, strict=True)
    return model


def texts(n=200):
    """Varied text for the tokenizer: prose, other scripts, code, emoji, numbers, runs of spaces, odd bytes."""
    fixed = ["", " ", "  ", "   ", "\t", "\n", "\n\n", "\n\n\n", " \n ", "\r\n", "a", " a", "a ", "  a  b   c    d", "Hello world", " Hello", "Hello, world!", "Once upon a time, there was a little fox named Pip.",
             "don't can't I'm you're we've they'll he'd it's DON'T", "'s 't 're 've 'm 'll 'd", "'S 'T", "1", "12", "123", "1234", "3.14159", "1,000,000", "2 + 2 = 4", "0x1F4A9", "10%", "$5.00",
             "Привет, мир!", "Γειά σου Κόσμε", "你好，世界", "こんにちは世界", "안녕하세요", "مرحبا بالعالم", "שלום עולם", "नमस्ते दुनिया", "สวัสดีชาวโลก", "Xin chào thế giới", "Zażółć gęślą jaźń", "Ünïcödé Straße", "naïve café", "e\u0301", "ﬁ ligature",
             "🚀", "🚀 (normal) 😶‍🌫️ (multiple emojis)", "👨‍👩‍👧‍👦", "🇩🇪🇫🇷", "✅❌", "a🙂b", "<|endoftext|>", "<|im_start|>user\nhi<|im_end|>\n", "<s></s>[INST]", "<unk>",
             "int main() { return 0; }", "for (int i = 0; i < n; ++i) {\n    sum += a[i];\n}\n", "def f(x):\n\treturn x**2  # square\n", "if (a && b || !c) { x ^= y; }", "#include <stdio.h>\n", "SELECT * FROM t WHERE a = 'b';", "{\"key\": [1, 2, 3], \"x\": null}", "https://example.com/a?b=c&d=e#f", "user@example.com", "C:\\Windows\\System32",
             "-----", "=====", "...", "!!!???", "((()))", "a-b_c.d/e", "~`!@#$%^&*()_+-={}[]|\\:;\"'<>,.?/", "\u00a0", "a\u00a0b", "\u200b", "\u2028", "\ufeffBOM", "\u0000", "a\u0000b", "\u007f", "\u0085",
             "ALL CAPS TEXT", "CamelCaseWord", "snake_case_word", "MiXeD", "I II III IV", "①②③", "½ ¼", "١٢٣", "x² + y³", "≤ ≥ ≠ ∞", "→ ← ↑", "“quoted” ‘single’ — dash – en…", "end with space ", "end with newline\n", "tab\tseparated\tvalues", "trailing   \n   leading", " \t \n \t ", "word" * 20, "a" * 100, " " * 50, "\n" * 10]
    r = random.Random(11)
    words = "Once upon time fox Pip little the a and dragon castle forest 42 7 don't it's said \"Hello\" . , ! ? ; : ( ) 世界 мир 🙂 é ñ  \n \t __ == x1 Zog".split(" ")
    while len(fixed) < n:
        t = ""
        for _ in range(r.randint(1, 25)): t += r.choice(words) + r.choice([" ", " ", " ", "", "  ", "\n"])
        fixed.append(t)
    return fixed[:n]


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out", nargs="?", default=HERE)
    ap.add_argument("--models", default=os.path.join(HERE, "../../models"))
    ap.add_argument("--tokenizer", help="tokenizer.json of the bundled model")
    a = ap.parse_args()
    import torch
    torch.set_num_threads(4)
    for k, (name, c) in enumerate(CASES.items()):
        model = hf_model(c, torch)
        randomize(model, c, torch, 100 + k)
        r = random.Random(k)
        ids = [1] + [r.randrange(3, c["vocab"]) for _ in range(c["n"] - 1)]
        write_case(f"{a.out}/{name}.gguf", name, c, model)
        if "rope" in c:  # the factors in the file must be what transformers used
            plain = 1.0 / c["theta"] ** (np.arange(0, c["hidden"] // c["heads"], 2) / (c["hidden"] // c["heads"]))
            used = model.model.rotary_emb.inv_freq.numpy()
            assert np.allclose(plain / rope_factors(c), used, rtol=1e-5), (plain / rope_factors(c), used)
            print("rope factors", rope_factors(c))
        save(a.out, name, ids, logits_of(model, ids, torch))

    path = os.path.join(a.models, "storyteller-f16.gguf")
    if a.tokenizer and os.path.exists(path):
        from tokenizers import Tokenizer
        from transformers import __version__ as version
        t = Tokenizer.from_file(a.tokenizer)
        ids = ([0] + t.encode("Once upon a time, in a small village by the sea, there was a little fox named Pip. One windy day, Pip found a golden key.").ids)[:24]
        save(a.out, "storyteller", ids, logits_of(bundled(a.out, path, torch), ids, torch))
        # The same file without its added tokens: text that spells a special token is only text.
        d = json.load(open(a.tokenizer))
        d["added_tokens"] = []
        plain = Tokenizer.from_str(json.dumps(d))
        with open(f"{a.out}/storyteller.tok.jsonl", "w") as f:
            for x in texts(): f.write(json.dumps({"text": x, "ids": plain.encode(x, add_special_tokens=False).ids}) + "\n")
        print("torch", torch.__version__, "transformers", version)


if __name__ == "__main__":
    main()
