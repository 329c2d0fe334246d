#!/usr/bin/env python3
"""Writes the training text of the bundled model: stories, small collections of stories, and conversations.

  make_corpus.py OUT_DIR [--megabytes 400] [--seed 1] [--jobs 16]     OUT_DIR/part-NNN.txt, documents separated by a line <|endoftext|>
  make_corpus.py --heldout FILE [--kilobytes 58] [--seed 987654321]   a collection of stories from another seed, for perplexity
  make_corpus.py --show 5 [--seed 3]                                  a few documents to look at

Everything comes from the grammar beside this file (story_world, story_plots, story_chat): no outside data, standard library only.
The same seed gives the same text.
"""
import argparse
import os
import random
from multiprocessing import Pool

from story_chat import chat
from story_plots import story, title

END = "<|endoftext|>"


def collection(r, stories):
    """Titled stories, one after the other, as in a book: the shape of the held-out text."""
    parts = []
    for _ in range(stories):
        s = story(r)
        parts.append(f"{title(s)}\n\n{s.text}")
    return "\n\n\n".join(parts)


def document(r):
    x = r.random()
    if x < .56: return story(r).text
    if x < .60: return collection(r, r.randint(2, 5))
    return chat(r)


def write_part(job):
    path, size, seed = job
    r = random.Random(seed)
    with open(path, "w") as f:
        while f.tell() < size:
            for _ in range(200): f.write(document(r) + "\n" + END + "\n")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out", nargs="?")
    ap.add_argument("--megabytes", type=float, default=400)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--jobs", type=int, default=os.cpu_count())
    ap.add_argument("--parts", type=int, default=64, help="the text depends on the seed and on this, not on --jobs")
    ap.add_argument("--heldout")
    ap.add_argument("--kilobytes", type=float, default=58)
    ap.add_argument("--show", type=int)
    a = ap.parse_args()
    if a.show:
        r = random.Random(a.seed)
        print(f"\n{END}\n".join(document(r) for _ in range(a.show)))
    elif a.heldout:
        r, text = random.Random(987654321 + a.seed), ""
        while True:
            more = text + ("\n\n\n" if text else "") + collection(r, 1)
            if len(more.encode()) > a.kilobytes * 1000: break
            text = more
        with open(a.heldout, "w") as f: f.write(text + "\n")
    else:
        os.makedirs(a.out, exist_ok=True)
        jobs = [(f"{a.out}/part-{i:03}.txt", a.megabytes * 1e6 / a.parts, a.seed * 100003 + i) for i in range(a.parts)]
        with Pool(a.jobs) as pool: pool.map(write_part, jobs, chunksize=1)


if __name__ == "__main__":
    main()
