// Writes tokenizer_goldens.json: small tokenizer.json files of every kind, texts, and the ids that Hugging Face's
// tokenizers gives them.
//
//   npm install tokenizers@0.23.2 && node make_tokenizer_goldens.mjs tokenizer_goldens.json
//
// The vocabularies are trained on the texts themselves: plain pair counting for BPE, frequent substrings for
// Unigram. Several tokenizers share one; in the file "model" is then its name.
import { Tokenizer } from 'tokenizers';
import fs from 'fs';

const texts = [
  "Hello, world! I'll say: it's 42 times; don't WE'LL they'RE 'tis.",
  'def f(x):\n    return {"a": [1, 2.5e-3]}  # comment\n\tif x != 0: x += 1\n\n\n',
  'int main(void)\r\n{\r\n\tprintf("%d\\n", 0xFF);\r\n}\r\n\r\n',
  '1234567890 12 345 6,789.00 $12.50 €99 ½ Ⅷ ٣٤٥ १२३ 10⁶',
  "Ünïcödé naïve façade Ångström Straße ſtraße 'ſ I'ſ can'Ll",
  'cafe\u0301 e\u0301\u0323 a\u030a \u1e9b\u0323 q\u0307\u0323 n\u0303o 한국어 \u1112\u1161\u11ab \u1100\u1161 \u0344',
  '日本語のテキスト、これはテストです。中文测试！ ｶﾞ ﬁﬂ ① ㎏ Å Ω',
  'Привет, мир! Ещё раз: Ёлка. Ελληνικά. שָׁלוֹם السَّلامُ हिन्दी ไทย ქართული ᲥᲐᲠ',
  '😀😃 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪🇫🇷 ✈️ 🦙',
  'a  b   c    d     e\t\tg \t h\u00a0i\u3000j\u2003k\u200bl\u2028m \x0b\x0c\x85o',
  '   leading and trailing   ', '\n\n\n  \n \n\t\n', ' ', '  ', '\n', 'x', ' x', 'x ',
  '<s> </s> hi <s>there</s>', '<s>', 'a<tag> b <tag>c<TAG>', ' zzqly zzq szzq zzq. zzq', 'x <left>  <right>  y <both> z',
  '▁under▁score ▁▁ literal Ġ Ċ', 'https://example.com/path?q=1&b=2#frag user@mail.org C:\\Windows',
  '(a)[b]{c}<d>"e"`g`;:,.!?/\\|@#$%^&*-_=+~ ... --- === ¡¿«»„“”‘’…—–',
  'camelCaseString HTTPServer snake_case SCREAMING iPhone15Pro aBcDeF ABCdef ÀÉÎõü ǅungla ʰʱ 中A文b МОСКВАмосква',
  'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', '9'.repeat(37),
  "the cat sat on the mat and the rat sat on the cat that sat there; then the hat",
];

// ---- vocabularies ----

const alphabet = [];
for (let b = 0, next = 0x100; b < 256; ++b) {
  alphabet.push(String.fromCharCode((b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b !== 0xad) ? b : next++));
}
const byteLevel = (text) => [...Buffer.from(text)].map((b) => alphabet[b]).join('');

function trainBpe(words, tokens, nMerges) {
  const merges = [], vocab = new Set(tokens);
  words = words.map((word) => [...word]);
  for (let i = 0; i < nMerges; ++i) {
    const counts = new Map();
    for (const word of words) {
      for (let k = 0; k + 1 < word.length; ++k) {
        const key = word[k] + '\0' + word[k + 1];
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
    }
    let best = null;
    for (const [key, n] of counts) {
      const both = key.split('\0');
      if (!vocab.has(both[0]) || !vocab.has(both[1])) continue;
      if (best === null || n > best.n || (n === best.n && key < best.key)) best = { key, n, both };
    }
    if (best === null) break;
    const [left, right] = best.both;
    merges.push([left, right]);
    if (!vocab.has(left + right)) tokens.push(left + right);
    vocab.add(left + right);
    words = words.map((word) => {
      const out = [];
      for (let k = 0; k < word.length; ++k) {
        const joins = word[k] === left && word[k + 1] === right;
        out.push(joins ? left + right : word[k]);
        if (joins) ++k;
      }
      return out;
    });
  }
  return { vocab: Object.fromEntries(tokens.map((t, i) => [t, i])), merges };
}

const trained = texts.filter((t) => !t.includes('zzq'));  // an added token must not become a piece as well
const byteWords = trained.flatMap((t) => t.match(/ ?[^\s]+|\s+/gu) ?? []).map(byteLevel);
const special = ['<unk>', '<s>', '</s>'];
const byteNames = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`);
const spaced = trained.map((t) => t.replaceAll(' ', '▁'));
const letters = [...new Set(spaced.join(''))].filter((c) => c.codePointAt(0) < 0x500 || c === '▁').sort();
const characterWords = spaced.flatMap((t) => t.match(/▁*[^▁]*/gu) ?? []);

function unigramVocab(pieces) {
  const counts = new Map();
  for (const word of characterWords) {
    const cs = [...word];
    for (let i = 0; i < cs.length; ++i) {
      for (let n = 1; n <= 5 && i + n <= cs.length; ++n) {
        const piece = cs.slice(i, i + n).join('');
        counts.set(piece, (counts.get(piece) ?? 0) + n);
      }
    }
  }
  const best = [...counts].filter(([p, n]) => !pieces.includes(p) && (n > 4 && p.length > 1) || letters.includes(p))
    .sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 300);
  // Distinct scores: where two ways to cut a text are equally good, rounding decides.
  return [...pieces.map((p) => [p, 0]), ...best.map(([p, n], i) => [p, -(Math.log(2000 / n) + i * 0.00137)])];
}

const bpe = { type: 'BPE', dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null,
              fuse_unk: false, byte_fallback: false, ignore_merges: false };
const models = {
  bytes: { ...bpe, ...trainBpe(byteWords, [...alphabet].sort(), 160) },
  characters: { ...bpe, unk_token: '<unk>', fuse_unk: true, byte_fallback: true,
                ...trainBpe(characterWords, [...special, ...byteNames, ...letters], 160) },
  unknown: { ...bpe, unk_token: '<unk>', fuse_unk: true, ...trainBpe(characterWords, [...special, ...letters], 60) },
  unigram: { type: 'Unigram', unk_id: 0, byte_fallback: false, vocab: unigramVocab(special) },
  unigram_bytes: { type: 'Unigram', unk_id: 0, byte_fallback: true, vocab: unigramVocab([...special, ...byteNames]) },
};
const whole = { ...models.bytes, ignore_merges: true, vocab: { ...models.bytes.vocab } };
for (const word of ['Ġworld', 'ĠHTTPServer', 'Hello']) whole.vocab[word] ??= Object.keys(whole.vocab).length;
models.whole_words = whole;

// ---- tokenizers ----

const added = (id, content, flags = {}) =>
  ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: false, ...flags });
const specials = special.map((t, id) => added(id, t, { special: true }));
const split = (Regex, behavior = 'Isolated', invert = false) => ({ type: 'Split', pattern: { Regex }, behavior, invert });
const bytes = (use_regex = false, add_prefix_space = false) => ({ type: 'ByteLevel', add_prefix_space, trim_offsets: true, use_regex });
const sequence = (...pretokenizers) => ({ type: 'Sequence', pretokenizers });
const normalizers = (...list) => ({ type: 'Sequence', normalizers: list });
const replace = (pattern, content) => ({ type: 'Replace', pattern, content });
const metaspace = (prepend_scheme, split) => ({ type: 'Metaspace', replacement: '▁', prepend_scheme, split });
const prefixed = normalizers({ type: 'Prepend', prepend: '▁' }, replace({ String: ' ' }, '▁'));
const cl100k = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const o200k = "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const flagged = (n) => [
  added(n, '<tag>'), added(n + 1, '<left>', { lstrip: true }), added(n + 2, '<right>', { rstrip: true }),
  added(n + 3, '<both>', { lstrip: true, rstrip: true, special: true }), added(n + 4, 'zzq', { single_word: true }),
  added(n + 5, '<TAG>', { normalized: true })];
const nBytes = Object.keys(models.bytes.vocab).length, nCharacters = Object.keys(models.characters.vocab).length;

const cases = [
  ['gpt2', 'bytes', null, bytes(true), flagged(nBytes)],
  ['gpt2-prefix', 'bytes', null, bytes(true, true), []],
  ['llama3', 'whole_words', null, sequence(split(cl100k), bytes()), []],
  ['qwen', 'bytes', { type: 'NFC' }, sequence(split(cl100k.replace('{1,3}', '')), bytes()), flagged(nBytes)],
  ['gpt-4o', 'bytes', null, sequence(split(o200k, 'Removed', true), bytes()), []],
  ['falcon', 'bytes', null,
   sequence({ type: 'Punctuation', behavior: 'Contiguous' }, bytes(true), { type: 'Digits', individual_digits: false },
            split('[0-9][0-9][0-9]')), []],
  ['starcoder', 'bytes', null, sequence({ type: 'Digits', individual_digits: true }, bytes(true)), []],
  ['deepseek-coder', 'bytes', { type: 'Sequence', normalizers: [] },
   sequence(split('[\r\n]'), split('\\s?\\p{L}+'), split('\\s?\\p{P}+'), split('[一-龥ࠀ-一가-퟿]+'),
            { type: 'Digits', individual_digits: true }, bytes()), []],
  ['possessive', 'bytes', null,
   sequence(split("'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s"), bytes()), []],
  ['lazy-lookahead', 'bytes', null, sequence(split('\\w+?(?=[aeiou\\s]|$)|[^\\S\\n]{2,3}|(?:\\d\\D){1,2}', 'Removed'), bytes()), []],
  ['previous', 'bytes', null, sequence(split('[\\s-]', 'MergedWithPrevious'), bytes()), []],
  ['next', 'bytes', null, sequence(split('[\\p{Lu}&&[^A-C]]|[[,:;.]!]', 'MergedWithNext'), bytes()), []],
  ['contiguous', 'bytes', null, sequence(split('[aeiou]', 'Contiguous'), bytes()), []],
  ['whitespace', 'bytes', null, sequence({ type: 'Whitespace' }, bytes()), []],
  ['llama2', 'characters', prefixed, null, [...specials, ...flagged(nCharacters)]],
  ['gemma', 'characters', replace({ String: ' ' }, '▁'),
   { type: 'Split', pattern: { String: ' ' }, behavior: 'MergedWithPrevious', invert: false }, specials],
  ['metaspace-first', 'characters', null, metaspace('first', false), specials],
  ['metaspace-split', 'characters', null, metaspace('always', true), specials],
  ['unknown', 'unknown', prefixed, null, specials],
  ['unigram', 'unigram', normalizers({ type: 'NFKC' }, replace({ Regex: ' {2,}' }, '▁')), metaspace('always', true), specials],
  ['unigram-lower', 'unigram_bytes',
   normalizers({ type: 'NFD' }, { type: 'StripAccents' }, { type: 'Lowercase' }, { type: 'Strip', strip_left: true, strip_right: true }),
   metaspace('never', false), specials],
  ['unigram-words', 'unigram', { type: 'NFKD' }, sequence({ type: 'WhitespaceSplit' }, metaspace('always', true)), specials],
];

const out = { models, texts, cases: [] };
for (const [name, model, normalizer, pre_tokenizer, added_tokens] of cases) {
  const tokenizer = { version: '1.0', truncation: null, padding: null, added_tokens, normalizer, pre_tokenizer,
                      post_processor: null, decoder: null, model };
  const reference = Tokenizer.fromString(JSON.stringify({ ...tokenizer, model: models[model] }));
  const ids = [];
  for (const text of texts) ids.push((await reference.encode(text, null, { addSpecialTokens: false })).getIds());
  out.cases.push({ name, tokenizer, ids });
}
const lines = (list) => list.map((item) => JSON.stringify(item)).join(',\n');
fs.writeFileSync(process.argv[2], '{"models": {\n' + Object.entries(out.models).map(([k, v]) => `${JSON.stringify(k)}: ${JSON.stringify(v)}`).join(',\n') +
  '},\n"texts": [\n' + lines(out.texts) + '],\n"cases": [\n' + lines(out.cases) + ']}\n');
