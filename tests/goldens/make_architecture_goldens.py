#!/usr/bin/env python3
"""Makes hf/NAME for each architecture: a small random model as transformers saves it, and its float32 logits on the CPU.

  make_architecture_goldens.py OUT_DIR [--converter LLAMA_CPP_CHECKOUT] [NAME...]

Needs torch, transformers, tokenizers and peft. OUT_DIR/hf/NAME has config.json, model.safetensors (BF16) and a byte-level
tokenizer; OUT_DIR/NAME.tokens.txt and OUT_DIR/NAME.logits.bin as make_goldens.py writes them. With --converter OUT_DIR/NAME.gguf
is the same model through llama.cpp's own converter (all of its tokenizers replaced by ours), so that both ways in can be compared.
OUT_DIR/lora and OUT_DIR/lora.gguf adapt the case `llama`.

A case is there for the quirks it names: each must change the logits, which tests/interp/goldens_test.cpp checks by leaving it out.
"""
import argparse
import json
import math
import os
import pathlib
import random
import shutil
import sys

import torch

VOCAB = 288
BASE = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=256, rms_norm_eps=1e-5, bos_token_id=256, eos_token_id=257, pad_token_id=None, attn_implementation="eager")


def rope(theta=10000.0, kind="default", **more):
    return {"rope_type": kind, "rope_theta": theta, **more}


def longrope(half, long_by):
    """Factors as real files have them: from 1 up, the long ones far above."""
    return dict(short_factor=[1 + 0.05 * i for i in range(half)], long_factor=[1 + long_by * i for i in range(half)])


# name: (model class, config changes, tokens). A tied head where the family has one.
CASES = {
    "llama": ("Llama", dict(num_attention_heads=4, num_key_value_heads=1, tie_word_embeddings=True,
                            rope_parameters=rope(500000.0, "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)), 40),
    "llama-bias": ("Llama", dict(attention_bias=True, mlp_bias=True, rope_parameters=rope()), 20),
    "llama-linear": ("Llama", dict(rope_parameters=rope(10000.0, "linear", factor=4.0)), 30),
    "llama-yarn": ("Llama", dict(rope_parameters=rope(10000.0, "yarn", factor=8.0, original_max_position_embeddings=32)), 60),
    "mistral": ("Mistral", dict(num_attention_heads=6, num_key_value_heads=2, head_dim=8, sliding_window=7, rope_parameters=rope()), 40),
    "qwen2": ("Qwen2", dict(tie_word_embeddings=True, rms_norm_eps=1e-6, rope_parameters=rope(1000000.0)), 20),
    "qwen3": ("Qwen3", dict(hidden_size=40, num_attention_heads=3, num_key_value_heads=1, head_dim=12, tie_word_embeddings=True, rms_norm_eps=1e-6,
                            rope_parameters=rope(1000000.0)), 20),
    "phi3": ("Phi3", dict(num_key_value_heads=4, sliding_window=9, original_max_position_embeddings=256, rope_parameters=rope(), pad_token_id=0), 30),
    "phi3-short": ("Phi3", dict(num_key_value_heads=4, original_max_position_embeddings=32, sliding_window=None, pad_token_id=0,
                                rope_parameters=rope(10000.0, "longrope", original_max_position_embeddings=32, **longrope(4, 3.0))), 30),
    "phi3-long": ("Phi3", dict(num_key_value_heads=4, original_max_position_embeddings=32, sliding_window=None, pad_token_id=0,
                               rope_parameters=rope(10000.0, "longrope", original_max_position_embeddings=32, **longrope(4, 3.0))), 50),
    "phi4-mini": ("Phi3", dict(num_attention_heads=3, num_key_value_heads=1, hidden_size=48, tie_word_embeddings=True, partial_rotary_factor=0.75, original_max_position_embeddings=32,
                               sliding_window=None, pad_token_id=0,
                               rope_parameters=rope(10000.0, "longrope", original_max_position_embeddings=32, partial_rotary_factor=0.75, **longrope(6, 2.0))), 48),
    "gemma": ("Gemma", dict(num_attention_heads=4, num_key_value_heads=1, head_dim=12, rms_norm_eps=1e-6, hidden_activation="gelu_pytorch_tanh", rope_parameters=rope()), 20),
    "gemma2": ("Gemma2", dict(num_hidden_layers=4, head_dim=8, query_pre_attn_scalar=8, sliding_window=6, attn_logit_softcapping=3.0, final_logit_softcapping=4.0, rms_norm_eps=1e-6,
                              rope_parameters=rope()), 30),
    "gemma3": ("Gemma3", dict(num_hidden_layers=7, head_dim=8, query_pre_attn_scalar=8, sliding_window=6, rms_norm_eps=1e-6,
                              rope_parameters={"sliding_attention": rope(10000.0), "full_attention": rope(1000000.0, "linear", factor=8.0)}), 30),
    "stablelm": ("StableLm", dict(num_key_value_heads=4, use_qkv_bias=True, partial_rotary_factor=0.25, layer_norm_eps=1e-5, rope_parameters=rope(partial_rotary_factor=0.25)), 20),
    "stablelm-parallel": ("StableLm", dict(hidden_size=40, num_attention_heads=5, num_key_value_heads=5, use_parallel_residual=True, partial_rotary_factor=0.5, layer_norm_eps=1e-5,
                                           rope_parameters=rope(partial_rotary_factor=0.5)), 20),
    "smollm3": ("SmolLM3", dict(num_hidden_layers=5, tie_word_embeddings=True, no_rope_layer_interval=4, use_sliding_window=False, rms_norm_eps=1e-6, rope_parameters=rope(2000000.0),
                                pad_token_id=0), 20),
    "olmo2": ("Olmo2", dict(rms_norm_eps=1e-6, num_attention_heads=4, num_key_value_heads=4, rope_parameters=rope(500000.0), pad_token_id=0), 20),
    "granite": ("Granite", dict(tie_word_embeddings=True, embedding_multiplier=12.0, attention_multiplier=0.2, residual_multiplier=0.22, logits_scaling=2.0, rope_parameters=rope(), pad_token_id=0), 20),
    "gpt2": ("GPT2", None, 20),
}


def make(name):
    import transformers
    family, change, _ = CASES[name]
    if family == "GPT2":
        config = transformers.GPT2Config(vocab_size=VOCAB, n_positions=64, n_embd=36, n_layer=2, n_head=3, bos_token_id=256, eos_token_id=257, attn_implementation="eager")
        return transformers.GPT2LMHeadModel(config)
    config_class = {"Gemma3": "Gemma3TextConfig"}.get(family, family + "Config")
    values = {**BASE, **change}
    if family == "StableLm": values.pop("rms_norm_eps")
    config = getattr(transformers, config_class)(**values)
    return getattr(transformers, family + "ForCausalLM")(config)


def randomize(model, seed):
    """Weights at a scale where attention is not flat, norms and biases matter, and logits spread by more than 1; BF16 values."""
    g = torch.Generator().manual_seed(seed)
    gemma = "Gemma" in type(model).__name__  # its norms multiply by 1 + weight
    conv = "GPT2" in type(model).__name__    # its linears are stored [in, out]
    tied = model.config.tie_word_embeddings
    hidden = model.get_input_embeddings().weight.shape[1]
    with torch.no_grad():
        for name, p in model.named_parameters():
            x = torch.randn(p.shape, generator=g)
            is_norm = "norm" in name or ".ln_" in name
            if name.endswith("bias"): x = 0.3 * x
            elif is_norm: x = (0.0 if gemma else 1.0) + 0.2 * x
            elif "embed" in name or "wte" in name: x = x * (2.0 / math.sqrt(hidden) if tied else 0.7)
            elif "wpe" in name: x = 0.3 * x
            else:
                gain = 1.5 if "q_proj" in name or "k_proj" in name or "qkv" in name or "c_attn" in name else 1.2
                x = x * (gain / math.sqrt(p.shape[0] if conv else p.shape[1]))
            p.copy_(x.to(torch.bfloat16).float())
    model.tie_weights()


def tokenizer_files(path):
    """A byte-level BPE: 256 bytes, three control tokens, 29 merges."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {c: i for i, c in enumerate(letters)}
    for i, t in enumerate(["<s>", "</s>", "<pad>"]): vocab[t] = 256 + i
    merges = [tuple(m.split()) for m in "Ġ t|h e|i n|Ġ a|r e|o n|Ġt he|e r|Ġ s|a t|Ġ w|Ġ o|e n|i t|a n|o r|i s|e s|Ġ b|e d|Ġ f|in g|Ġ p|o u|Ġa n|a l|a r|Ġt o|Ġo f".split("|")]
    for a, b in merges: vocab[a + b] = len(vocab)
    assert len(vocab) == VOCAB, len(vocab)
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(x, special=True, normalized=False) for x in ("<s>", "</s>", "<pad>")])
    t.save(f"{path}/tokenizer.json")
    json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "add_bos_token": True, "model_max_length": 256,
               "chat_template": "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"}, open(f"{path}/tokenizer_config.json", "w"), indent=1)


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0].float().numpy().astype("<f4")


def store(out, name, ids, logits):
    logits.tofile(f"{out}/{name}.logits.bin")
    pathlib.Path(f"{out}/{name}.tokens.txt").write_text(" ".join(map(str, ids)) + "\n")
    print(f"{name}: logits {logits.shape}, std {logits.std():.3f}, max {abs(logits).max():.3f}", flush=True)


def ids_for(name, n):
    r = random.Random(name)
    return [256] + [r.choice([i for i in range(VOCAB) if not 256 <= i < 259]) for _ in range(n - 1)]


def convert(checkout, path, out):
    """llama.cpp's converter on a directory."""
    sys.path[:0] = [f"{checkout}/gguf-py", str(checkout)]
    import gguf
    import transformers
    # By file and not by the model's name, or a family's own tokenizer class would add tokens.
    transformers.AutoTokenizer.from_pretrained = lambda d: transformers.PreTrainedTokenizerFast(tokenizer_file=f"{d}/tokenizer.json", bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    from conversion import base, get_model_class
    ours = base.TextModel._set_vocab_gpt2
    base.TextModel.get_vocab_base_pre = lambda self, tokenizer: "gpt-2"
    with torch.inference_mode():
        hparams = base.ModelBase.load_hparams(pathlib.Path(path), False)
        model_class = get_model_class(base.get_model_architecture(hparams, base.ModelType.TEXT))
        model_class.set_vocab = ours
        model_class(pathlib.Path(path), gguf.LlamaFileType.MOSTLY_BF16, pathlib.Path(out), eager=True, metadata_override=None, model_name=None, split_max_tensors=0, split_max_size=0,
                    dry_run=False, small_first_shard=False).write()


def adapter(out, base, ids, checkout):
    from peft import LoraConfig, get_peft_model
    torch.manual_seed(5)
    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=6, target_modules=["q_proj", "v_proj", "o_proj", "down_proj"], lora_dropout=0.0))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name: p.copy_(0.3 * torch.randn(p.shape))
    store(out, "lora", ids, logits_of(model.eval(), ids))
    model.save_pretrained(f"{out}/lora")
    for extra in ("README.md",): pathlib.Path(f"{out}/lora/{extra}").unlink(missing_ok=True)
    if checkout:
        os.system(f"PYTHONPATH={checkout}/gguf-py {sys.executable} {checkout}/convert_lora_to_gguf.py --base {out}/hf/llama --outtype f32 --outfile {out}/lora.gguf {out}/lora")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out")
    ap.add_argument("names", nargs="*")
    ap.add_argument("--converter")
    a = ap.parse_args()
    torch.set_num_threads(4)
    failed = []
    for k, name in enumerate(CASES):
        if a.names and name not in a.names: continue
        try:
            path = f"{a.out}/hf/{name}"
            shutil.rmtree(path, ignore_errors=True)
            os.makedirs(path)
            model = make(name).float().eval()
            randomize(model, 200 + k)
            ids = ids_for(name, CASES[name][2])
            store(a.out, name, ids, logits_of(model, ids))
            model.to(torch.bfloat16).save_pretrained(path)
            model.float()
            tokenizer_files(path)
            if name == "gpt2":  # as older configurations have it; the converter reads it
                config = json.load(open(f"{path}/config.json"))
                config["n_ctx"] = config["n_positions"]
                json.dump(config, open(f"{path}/config.json", "w"), indent=2)
            if a.converter: convert(a.converter, path, f"{a.out}/{name}.gguf")
            if name == "llama": adapter(a.out, model, ids, a.converter)
        except Exception as e:  # the others are still wanted
            import traceback
            traceback.print_exc()
            failed.append(f"{name}: {e}")
    for f in failed: print("FAILED", f)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
