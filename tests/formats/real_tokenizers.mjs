// Writes ids.json beside the tokenizer.json files of a folder: texts, and the ids that Hugging Face's tokenizers gives
// them with each file. See real_tokenizers.sh.
//
//   node real_tokenizers.mjs TOKENIZERS_MODULE FOLDER TEXTS.json MORE_TEXT.txt
import { createRequire } from 'module';
import fs from 'fs';
import path from 'path';

const [module, folder, textsFile, moreFile] = process.argv.slice(2);
const { Tokenizer } = createRequire(import.meta.url)(module);

const texts = JSON.parse(fs.readFileSync(textsFile)).texts;
texts.push(...fs.readFileSync(moreFile, 'utf8').split('\n\n').slice(0, 40));
// What no author of a text would write: cuts of them in a random order (seeded: a failure is to be seen again).
let state = 1;
const random = (n) => (state = (state * 48271) % 0x7fffffff) % n;
for (let i = 0, fixed = texts.length; i < 1000; ++i) {
  let text = '';
  for (let pieces = 1 + random(8); pieces > 0; --pieces) {
    const from = [...texts[random(fixed)]], at = random(from.length);
    text += from.slice(at, at + 1 + random(6)).join('');
  }
  texts.push(text);
}

const names = fs.readdirSync(folder).filter((name) => name.endsWith('.tokenizer.json'));
const ids = {};
for (const name of names) {
  const tokenizer = Tokenizer.fromString(fs.readFileSync(path.join(folder, name), 'utf8'));
  ids[name] = [];
  for (const text of texts) {
    const encoding = await tokenizer.encode(text, null, { addSpecialTokens: false });
    ids[name].push([...encoding.getIds()]);
  }
}
fs.writeFileSync(path.join(folder, 'ids.json'), JSON.stringify({ texts, ids }));
