#!/usr/bin/env python3
"""Writes the trained storyteller as GGUF: export_gguf.py CHECKPOINT.npz TOKENIZER.json F16.gguf Q8_0.gguf

CHECKPOINT.npz holds the weights under Hugging Face's names (as train.py leaves them), TOKENIZER.json is what the tokenizers
library saved. The Q8_0 file is made from the F16-rounded weights, as a tool that converts the F16 file would make it.
"""
import json
import sys

import numpy as np

from gguf_writer import BOOL, F32, I32, STR, U32, Writer, permute_rope

CONFIG = dict(hidden=256, layers=6, heads=4, kv_heads=2, ffn=768, vocab=2048, context=1024, theta=10000.0, eps=1e-5)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]  # ids 0, 1, 2
TEMPLATE = (
    "{%- for message in messages -%}\n"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>' + '\\n' -}}\n"
    "{%- endfor -%}\n"
    "{%- if add_generation_prompt -%}\n"
    "{{- '<|im_start|>assistant\\n' -}}\n"
    "{%- endif -%}\n")
FILE_TYPE = {"f16": 1, "q8_0": 7}  # llama.cpp's general.file_type


def write(path, weights, tokenizer, kind):
    c, w = CONFIG, Writer()
    w.key("general.architecture", STR, "llama")
    w.key("general.type", STR, "model")
    w.key("general.name", STR, "ForgeLLM Storyteller 5M")
    w.key("general.basename", STR, "storyteller")
    w.key("general.size_label", STR, "5M")
    w.key("general.description", STR, "A small model that tells short stories and answers simple requests, trained on generated text.")
    w.key("general.license", STR, "mit")
    w.array("general.tags", STR, ["text-generation", "stories"])
    w.array("general.languages", STR, ["en"])
    w.key("general.file_type", U32, FILE_TYPE[kind])
    w.key("general.quantization_version", U32, 2)
    # What suits this model: cool enough to stay coherent, no repetition penalty (a story repeats its hero's name).
    w.key("general.sampling.temp", F32, 0.7)
    w.key("general.sampling.top_k", I32, 40)
    w.key("general.sampling.top_p", F32, 0.95)
    w.key("general.sampling.min_p", F32, 0.05)
    w.key("general.sampling.penalty_repeat", F32, 1.0)
    for name, value in (("vocab_size", c["vocab"]), ("context_length", c["context"]), ("embedding_length", c["hidden"]), ("block_count", c["layers"]),
                        ("feed_forward_length", c["ffn"]), ("attention.head_count", c["heads"]), ("attention.head_count_kv", c["kv_heads"]),
                        ("attention.key_length", c["hidden"] // c["heads"]), ("attention.value_length", c["hidden"] // c["heads"]), ("rope.dimension_count", c["hidden"] // c["heads"])):
        w.key("llama." + name, U32, value)
    w.key("llama.rope.freq_base", F32, c["theta"])
    w.key("llama.attention.layer_norm_rms_epsilon", F32, c["eps"])

    model = json.load(open(tokenizer))["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].get)
    assert pieces[:3] == SPECIAL and len(pieces) == c["vocab"], (pieces[:3], len(pieces))
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    w.key("tokenizer.ggml.model", STR, "gpt2")
    w.key("tokenizer.ggml.pre", STR, "gpt-2")
    w.array("tokenizer.ggml.tokens", STR, pieces)
    w.array("tokenizer.ggml.token_type", I32, [3] * 3 + [1] * (len(pieces) - 3))  # 3: control, 1: normal
    w.array("tokenizer.ggml.merges", STR, merges)
    w.key("tokenizer.ggml.bos_token_id", U32, 0)
    w.key("tokenizer.ggml.eos_token_id", U32, 0)
    w.key("tokenizer.ggml.eot_token_id", U32, 2)
    w.key("tokenizer.ggml.padding_token_id", U32, 0)
    w.key("tokenizer.ggml.add_bos_token", BOOL, True)  # a story and a conversation both begin after <|endoftext|>
    w.key("tokenizer.ggml.add_eos_token", BOOL, False)
    w.key("tokenizer.chat_template", STR, TEMPLATE)

    def matrix(name, x):
        w.tensor(name, x.astype(np.float16).astype(np.float32), kind)

    def norm(name, x):
        w.tensor(name, x.astype(np.float32), "f32")

    matrix("token_embd.weight", weights["model.embed_tokens.weight"])  # tied: it is the head, too
    for i in range(c["layers"]):
        p, b = f"model.layers.{i}.", f"blk.{i}."
        norm(b + "attn_norm.weight", weights[p + "input_layernorm.weight"])
        matrix(b + "attn_q.weight", permute_rope(weights[p + "self_attn.q_proj.weight"], c["heads"]))
        matrix(b + "attn_k.weight", permute_rope(weights[p + "self_attn.k_proj.weight"], c["kv_heads"]))
        matrix(b + "attn_v.weight", weights[p + "self_attn.v_proj.weight"])
        matrix(b + "attn_output.weight", weights[p + "self_attn.o_proj.weight"])
        norm(b + "ffn_norm.weight", weights[p + "post_attention_layernorm.weight"])
        matrix(b + "ffn_gate.weight", weights[p + "mlp.gate_proj.weight"])
        matrix(b + "ffn_up.weight", weights[p + "mlp.up_proj.weight"])
        matrix(b + "ffn_down.weight", weights[p + "mlp.down_proj.weight"])
    norm("output_norm.weight", weights["model.norm.weight"])
    w.save(path)


def main():
    checkpoint, tokenizer, f16, q8 = sys.argv[1:5]
    weights = dict(np.load(checkpoint))
    write(f16, weights, tokenizer, "f16")
    write(q8, weights, tokenizer, "q8_0")


if __name__ == "__main__":
    main()
