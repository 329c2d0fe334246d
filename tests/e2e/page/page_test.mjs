// The chat page in a real browser (headless Chromium over its debugging pipe), against a server in this file that says
// what each test needs, under the Content-Security-Policy of the real one. Exit status 77: no Chromium here.
//
//   node page_test.mjs                         all tests
//   node page_test.mjs --screenshots FOLDER    … and pictures of the page
//   node page_test.mjs --base URL [--key KEY]  a running server instead: what can be tested of any model
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values: args } = parseArgs({ options: { screenshots: { type: 'string' }, base: { type: 'string' }, key: { type: 'string' } } });
const PAGE = fileURLToPath(new URL('../../../src/runtime/server/page/index.html', import.meta.url));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// ---- The server

const SAMPLE = `Both are **balanced** search trees, but they are balanced for *different* costs.

## What differs

A B-tree keeps many keys in one node, so that a look-up touches few pages:

1. Read the root, which is nearly always in memory.
2. Choose the child by binary search.
   - a node of 4 KB holds about 200 keys
   - three levels reach 8 million
3. Read the leaf.

| Tree      | Height for 10⁶ keys | Cost of a step |
|:----------|--------------------:|:---------------|
| Red-black |                  40 | a cache miss   |
| B-tree    |                   3 | a page         |

\`\`\`rust
fn find(node: &Node, key: u64) -> Option<&Value> {
    match node.keys.binary_search(&key) {
        Ok(i) => Some(&node.values[i]),
        Err(i) => node.child(i).and_then(|c| find(c, key)),
    }
}
\`\`\`

> Measure before you choose: for small maps a sorted array with \`lower_bound\` often wins.

See [the paper](https://dl.acm.org/doi/10.1145/1734663.1734671) for how it began.`;

const HOSTILE = `<img src=x onerror="window.hacked=1"> <script>window.hacked=1</script>

[click](javascript:window.hacked=1) [data](data:text/html,<script>window.hacked=1</script>) [upper](JaVaScRiPt:alert(1))

![picture](http://127.0.0.1:9/track.png) <iframe src="javascript:window.hacked=1"></iframe>

\`\`\`html" onmouseover="window.hacked=1
<svg onload=window.hacked=1>
\`\`\`

| <b onclick=alert(1)>x</b> | y |
|---|---|
| [a](vbscript:x) | <style>*{display:none}</style> |
`;

// What the server of this file does with the last user message: chunks are {content}, {reasoning_content} or a
// function; a number waits so many ms.
const scripts = {
  hello: ['Hel', 'lo ', '**wor', 'ld**', '.'],
  sample: SAMPLE.match(/[^]{1,7}/g),
  hostile: HOSTILE.match(/[^]{1,3}/g),
  slow: ['First ', ...Array.from({ length: 200 }, (_, i) => [20, `word${i} `]).flat()],
  endless: ['First ', ...Array.from({ length: 5000 }, (_, i) => [20, `word${i} `]).flat()],
  thoughtful: [...'Let me see. *Two* and two'.match(/.{1,5}/g).flatMap((t) => [60, { reasoning_content: t }]), 'Four.'],
  breaks: ['Half an ', 'answer', { error: { message: 'the computation failed: out of pages' } }],
  dies: ['Half', 40, 'die'],
  long: Array.from({ length: 300 }, (_, i) => [10, `Line ${i}\n\n`]).flat(),
};

const THINKS = { supports_thinking: true, supports_thinking_switch: true };
const mock = { requests: [], aborted: 0, key: null, fail: null, thinking: THINKS, base: '' };

const CSP = (nonce) =>
  `default-src 'none'; script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'`;

async function serve(request, response) {
  const json = (status, value) => {
    response.writeHead(status, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify(value));
  };
  if (request.url === '/') {
    const nonce = randomBytes(16).toString('base64');
    response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8', 'Content-Security-Policy': CSP(nonce) });
    response.end(readFileSync(PAGE, 'utf8').replaceAll('__NONCE__', nonce));
    return;
  }
  if (mock.key && request.headers.authorization !== `Bearer ${mock.key}`) {
    json(401, { error: { message: 'missing or wrong API key', type: 'authentication_error' } });
    return;
  }
  if (request.url === '/v1/models') return json(200, { object: 'list', data: [{ id: 'SmolLM3-3B', object: 'model' }] });
  if (request.url === '/props') {
    return json(200, { n_ctx: 4096, model_alias: 'SmolLM3-3B', ...mock.thinking, default_generation_settings: { params: { temperature: 0.6, top_k: 40, top_p: 0.949999988, min_p: 0.05, repeat_penalty: 1 } } });
  }
  if (request.url !== '/v1/chat/completions') return json(404, { error: { message: 'no such path' } });
  let text = '';
  for await (const chunk of request) text += chunk;
  const body = JSON.parse(text);
  mock.requests.push(body);
  if (mock.fail) {
    const [status, message] = mock.fail;
    mock.fail = null;
    return json(status, { error: { message } });
  }
  response.writeHead(200, { 'Content-Type': 'text/event-stream' });
  response.on('close', () => { if (!response.writableEnded) mock.aborted++; });
  const event = (value) => response.write(`data: ${JSON.stringify(value)}\n\n`);
  const said = body.messages.at(-1).content;
  let count = 0;
  for (let chunk of scripts[said.split(' ')[0]] ?? [`You said: ${said}`]) {
    if (response.destroyed) return;
    if (chunk === 'die') return void response.destroy();
    if (typeof chunk === 'number') { await sleep(chunk); continue; }
    if (chunk.error) { event(chunk); response.end(); return; }
    if (typeof chunk === 'string') chunk = { content: chunk };
    event({ choices: [{ index: 0, delta: chunk, finish_reason: null }] });
    count++;
    if (count % 8 === 0) await sleep(1);
  }
  event({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
  event({ choices: [], usage: { prompt_tokens: 1812, completion_tokens: count, total_tokens: 1812 + count }, timings: { prompt_n: 1812, prompt_ms: 420, predicted_n: count, predicted_ms: 3000, predicted_per_second: 58.3 } });
  response.end('data: [DONE]\n\n');
}

// ---- The browser

function skip(why) {
  console.log(`NOT TESTED: the chat page: ${why}`);
  process.exit(77);
}

const browserName = ['chromium', 'chromium-browser', 'google-chrome'].find((name) => spawnSync(name, ['--version']).status === 0);
if (!browserName) skip('needs Chromium (scripts/setup.sh installs it)');

const profile = mkdtempSync(path.join(os.tmpdir(), 'forge-page-'));
const browser = spawn(browserName, [
  '--headless=new', '--remote-debugging-pipe', `--user-data-dir=${profile}`, '--no-first-run', '--disable-gpu', '--disable-dev-shm-usage',
  '--disable-background-networking', '--hide-scrollbars', '--font-render-hinting=none', ...(process.getuid() === 0 ? ['--no-sandbox'] : []), 'about:blank',
], { stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'], detached: true });  // a group of its own
let browserLog = '';
browser.stderr.on('data', (data) => { browserLog += data; });
browser.on('exit', (code) => {
  if (!finished) end(1, `the browser ended (${code}):\n${browserLog.slice(-2000)}`);
});

let finished = false;
function end(status, text = '') {
  if (finished) return;
  finished = true;
  if (text) console.log(text);
  try {
    process.kill(-browser.pid, 'SIGKILL');  // its children, too: they would still write to the profile
  } catch { /* none is left */ }
  setTimeout(() => {
    try {
      rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
    } catch (error) {
      console.log(error.message);
    }
    process.exit(status);
  }, 200);
}
process.on('uncaughtException', (error) => end(1, error.stack));
process.on('unhandledRejection', (error) => end(1, error.stack));
setTimeout(() => end(1, `no end after 550 s, in: ${step}`), 550000);

let nextId = 1, incoming = Buffer.alloc(0);
const calls = new Map();
const complaints = [];  // what a page that behaves never causes
browser.stdio[4].on('data', (data) => {
  incoming = Buffer.concat([incoming, data]);
  for (let at; (at = incoming.indexOf(0)) >= 0; incoming = incoming.subarray(at + 1)) {
    const message = JSON.parse(incoming.subarray(0, at).toString());
    if (message.id) {
      const { resolve, reject } = calls.get(message.id);
      calls.delete(message.id);
      if (message.error) reject(new Error(`${message.error.message} ${message.error.data ?? ''}`));
      else resolve(message.result);
    } else if (message.method === 'Log.entryAdded') {
      const { level, source, text, url } = message.params.entry;
      if (level === 'error' && source !== 'network') complaints.push(`${source}: ${text} ${url ?? ''}`);
    } else if (message.method === 'Runtime.exceptionThrown') {
      complaints.push(message.params.exceptionDetails.exception?.description ?? message.params.exceptionDetails.text);
    } else if (message.method === 'Runtime.consoleAPICalled' && ['error', 'warning', 'assert'].includes(message.params.type)) {
      complaints.push(`console: ${message.params.args.map((a) => a.value ?? a.description).join(' ')}`);
    }
  }
});

let session;
function call(method, params = {}, sessionId = session) {
  const id = nextId++;
  browser.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + '\0');
  return new Promise((resolve, reject) => calls.set(id, { resolve, reject }));
}

async function openPage() {
  const { targetId } = await call('Target.createTarget', { url: 'about:blank' }, undefined);
  ({ sessionId: session } = await call('Target.attachToTarget', { targetId, flatten: true }, undefined));
  await call('Page.enable');
  await call('Runtime.enable');
  await call('Log.enable');
  await call('Page.addScriptToEvaluateOnNewDocument', { source: "window.violations = []; addEventListener('securitypolicyviolation', (e) => violations.push(e.violatedDirective + ' ' + e.blockedURI))" });
  await call('Emulation.setFocusEmulationEnabled', { enabled: true });
  await call('Browser.grantPermissions', { permissions: ['clipboardReadWrite', 'clipboardSanitizedWrite'] }, undefined);
}

async function evaluate(expression) {
  const { result, exceptionDetails } = await call('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
  if (exceptionDetails) throw new Error(`${exceptionDetails.exception?.description ?? exceptionDetails.text}\nin: ${expression}`);
  return result.value;
}
// Calls a function of this file in the page.
const inPage = (f, ...values) => evaluate(`(${f})(...${JSON.stringify(values)})`);

async function until(expression, what = expression, ms = 30000) {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(20)) if (await evaluate(expression).catch(() => false)) return;
  throw new Error(`did not come: ${what}\nthe page says: ${await evaluate('document.body.innerText.slice(0, 1500)')}`);
}

async function open(width = 1280, height = 860, hash = '') {
  await size(width, height);
  await call('Page.navigate', { url: 'about:blank' });
  await call('Page.navigate', { url: mock.base + hash });
  await until("document.readyState === 'complete' && typeof submit === 'function'", 'the page');
}

const size = (width, height) => call('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: args.screenshots ? 2 : 1, mobile: false });
const scheme = (value) => call('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value }] });

async function key(name, modifiers = 0) {
  const code = { Enter: 13, Escape: 27, Tab: 9 }[name];
  const event = { key: name, code: name, windowsVirtualKeyCode: code, modifiers, ...(name === 'Enter' && { text: '\r' }) };
  await call('Input.dispatchKeyEvent', { type: 'keyDown', ...event });
  await call('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
}
const SHIFT = 8;
const type = (text) => call('Input.insertText', { text });

// Clicks where the element is, so that one that is hidden or covered fails.
async function click(selector) {
  const at = await inPage((selector) => {
    const node = document.querySelector(selector);
    if (!node) return `no ${selector}`;
    node.scrollIntoView({ block: 'nearest' });
    const box = node.getBoundingClientRect();
    const x = box.x + box.width / 2, y = box.y + box.height / 2;
    const top = document.elementFromPoint(x, y);
    return node.contains(top) ? { x, y } : `${selector} is covered by ${top?.outerHTML.slice(0, 80)}`;
  }, selector);
  assert.equal(typeof at, 'object', at);
  await call('Input.dispatchMouseEvent', { type: 'mouseMoved', ...at });
  await call('Input.dispatchMouseEvent', { type: 'mousePressed', ...at, button: 'left', clickCount: 1 });
  await call('Input.dispatchMouseEvent', { type: 'mouseReleased', ...at, button: 'left', clickCount: 1 });
}

async function say(text) {
  await evaluate("document.getElementById('input').focus()");
  await type(text);
  await key('Enter');
}
const IDLE = "runs.size === 0 && document.querySelector('#log > :last-child .tools') !== null";
async function ask(text) {
  await say(text);
  await until(`${IDLE} && document.querySelectorAll('.answer').length > 0`, `an answer to ${text}`);
}
const answerText = () => evaluate("document.querySelector('#log > :last-child > .text').innerText");
const lastRequest = () => mock.requests.at(-1);

async function screenshot(name) {
  if (!args.screenshots) return;
  mkdirSync(args.screenshots, { recursive: true });
  await sleep(350);  // transitions
  const { data } = await call('Page.captureScreenshot', { format: 'png' });
  writeFileSync(path.join(args.screenshots, name + '.png'), Buffer.from(data, 'base64'));
}

// ---- Tests

const tests = [];
const test = (name, run) => tests.push({ name, run });
let step = '';

// Each test begins with an empty browser.
async function fresh() {
  Object.assign(mock, { requests: [], aborted: 0, key: null, fail: null, thinking: THINKS });
  await scheme('light');
  await call('Page.navigate', { url: mock.base });
  await until("document.readyState === 'complete' && typeof submit === 'function'", 'the page');
  await evaluate('for (const run of runs.values()) run.controller.abort(); Promise.all([...runs.values()].map((run) => run.ended))');
  await evaluate('localStorage.clear(); sessionStorage.clear()');
  await open();
}

test('text streams in, and its figures stand below', async () => {
  await until("document.querySelector('#welcome h2').textContent === 'SmolLM3-3B'");
  await say('slow');
  await until("document.querySelector('.answer > .text')?.textContent.includes('word3')", 'the first words');
  const early = (await answerText()).length;
  assert.equal(await evaluate('runs.size'), 1);
  await until(`document.querySelector('.answer > .text').textContent.length > ${early + 50}`, 'more words');
  assert.ok(!(await answerText()).includes('word199'));
  await until(IDLE, 'the end', 30000);
  assert.ok((await answerText()).includes('word199'));
  assert.equal(await evaluate("document.querySelector('.answer .stats').textContent"), '201 tokens  ·  58.3 tokens/s  ·  prompt 1,812 in 0.4 s  ·  50% of context');
  assert.deepEqual(lastRequest(), { model: 'SmolLM3-3B', messages: [{ role: 'user', content: 'slow' }], stream: true, stream_options: { include_usage: true } });
  await until("document.getElementById('status').textContent.startsWith('Answer: First')", 'the announcement');
});

test('Shift+Enter makes a line, Enter sends, an empty message does not', async () => {
  await key('Enter');
  await type('one');
  await key('Enter', SHIFT);
  await type('two');
  assert.equal(mock.requests.length, 0);
  assert.equal(await evaluate("document.getElementById('input').value"), 'one\ntwo');
  await key('Enter');
  await until(IDLE);
  assert.equal(lastRequest().messages[0].content, 'one\ntwo');
  assert.equal(await evaluate("document.getElementById('input').value"), '');
  assert.equal(await answerText(), 'You said: one\ntwo');
});

test('markdown becomes elements', async () => {
  const cases = [
    ['a **b** *c* ***d*** ~~e~~ `f`', '<p>a <strong>b</strong> <em>c</em> <em><strong>d</strong></em> <del>e</del> <code>f</code></p>'],
    ['snake_case_name 2*3*4 2 * 3', '<p>snake_case_name 2<em>3</em>4 2 * 3</p>'],
    ['_a_ __b__ **a*b*c**', '<p><em>a</em> <strong>b</strong> <strong>a<em>b</em>c</strong></p>'],
    ['**unclosed and `open', '<p>**unclosed and `open</p>'],
    ['`` a`b `` and \\*plain\\*', '<p><code>a`b</code> and *plain*</p>'],
    ['\\(x\\) and \\[y\\]', '<p>\\(x\\) and \\[y\\]</p>'],
    ['# A\n### B ##\n#no\n####### no', '<h3>A</h3><h5>B</h5><p>#no<br>####### no</p>'],
    ['a\nb\n\nc', '<p>a<br>b</p><p>c</p>'],
    ['- a\n- b\n  - c\n    - d\n- e', '<ul><li><p>a</p></li><li><p>b</p><ul><li><p>c</p><ul><li><p>d</p></li></ul></li></ul></li><li><p>e</p></li></ul>'],
    ['1. a\n  - b\n2. c\n\n   more\n3. d', '<ol><li><p>a</p><ul><li><p>b</p></li></ul></li><li><p>c</p><p>more</p></li><li><p>d</p></li></ol>'],
    ['4. a\n\n5. b', '<ol start="4"><li><p>a</p></li><li><p>b</p></li></ol>'],
    ['in\n2019. It\n1. b', '<p>in<br>2019. It</p><ol><li><p>b</p></li></ol>'],
    ['- a\nlazy\n\nafter', '<ul><li><p>a<br>lazy</p></li></ul><p>after</p>'],
    ['- a\n1. b', '<ul><li><p>a</p></li></ul><ol><li><p>b</p></li></ol>'],
    ['> a\n> > b\n\nc', '<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote><p>c</p>'],
    ['> - a\n>   b\n> - c', '<blockquote><ul><li><p>a<br>b</p></li><li><p>c</p></li></ul></blockquote>'],
    ['a\n\n---\n***\n- - -', '<p>a</p><hr><hr><hr>'],
    ['| a | b |\n|:-:|--:|\n| `x|y` | 2 |\n| 3 |\nend', '<TABLE><thead><tr><th class="center" scope="col">a</th><th class="right" scope="col">b</th></tr></thead><tbody><tr><td class="center"><code>x|y</code></td><td class="right">2</td></tr><tr><td class="center">3</td><td class="right"></td></tr></tbody></table></div><p>end</p>'],
    ['x | y\n---|---\n1 | a\\|b', '<TABLE><thead><tr><th scope="col">x</th><th scope="col">y</th></tr></thead><tbody><tr><td>1</td><td>a|b</td></tr></tbody></table></div>'],
    ['text\n| a |\n|---|\n', '<p>text</p><TABLE><thead><tr><th scope="col">a</th></tr></thead><tbody></tbody></table></div>'],
    ['| a | b |\n|---|', '<p>| a | b |<br>|---|</p>'],
    ['```py\nif a < b:\n\tpass\n\n# no heading\n```\nafter', '<FENCE py>if a &lt; b:\n\tpass\n\n# no heading\n</code></pre></div><p>after</p>'],
    ['~~~\n```\n~~~', '<FENCE text>```\n</code></pre></div>'],
    ['````\n```\n````', '<FENCE text>```\n</code></pre></div>'],
    ['- a\n  ```js\n  x\n    y\n  ```\n- b', '<ul><li><p>a</p><FENCE js>x\n  y\n</code></pre></div></li><li><p>b</p></li></ul>'],
    ['> ```\n> q\nout', '<blockquote><FENCE text>q\n</code></pre></div></blockquote><p>out</p>'],
    ['```\nnever closed', '<FENCE text>never closed</code></pre></div>'],
    ['[a **b**](https://x.org/y_(z) "t") https://e.org/a_b_c. (see http://e.org/q?a=1&b=2)', '<p><A https://x.org/y_(z)>a <strong>b</strong></a> <A https://e.org/a_b_c>https://e.org/a_b_c</a>. (see <A http://e.org/q?a=1&amp;b=2>http://e.org/q?a=1&amp;b=2</a>)</p>'],
    ['**https://e.org** <https://e.org/>', '<p><strong><A https://e.org/>https://e.org</a></strong> <A https://e.org/>https://e.org/</a></p>'],
    ['[x](javascript:alert(1)) [y](/local) [z]', '<p>[x](javascript:alert(1)) [y](/local) [z]</p>'],
    ['![alt](https://e.org/i.png)', '<p><A https://e.org/i.png>alt</a></p>'],
    ['a<br>b &lt;i&gt; &amp;lt; <b>x</b>', '<p>a<br>b &lt;i&gt; &amp;lt; &lt;b&gt;x&lt;/b&gt;</p>'],
    ['a\r\nb\r\n\r\n- c\r\n', '<p>a<br>b</p><ul><li><p>c</p></li></ul>'],
  ];
  const got = await inPage((texts) => texts.map((text) => {
    const root = document.createElement('div'), markdown = createMarkdown(root);
    markdown.write(text);
    markdown.show(true);
    return root.innerHTML
      .replace(/<div class="table"[^>]*><table>/g, '<TABLE>')
      .replace(/<div class="fence"><div><span>([^<]*)<\/span><button.*?<\/button><\/div><pre tabindex="0"><code>/g, '<FENCE $1>')
      .replace(/<a href="([^"]*)" target="_blank" rel="noopener noreferrer">/g, '<A $1>');
  }), cases.map(([text]) => text));
  cases.forEach(([text, expected], i) => assert.equal(got[i], expected, `markdown: ${JSON.stringify(text)}`));
});

test('markdown is the same however it is cut, and never more than it may be', async () => {
  const failure = await inPage((texts) => {
    let state = 12345;
    const random = (n) => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % n;
    };
    const parts = ['a', 'b ', '\n', '\n\n', '\n', '  ', '    ', '- ', '1. ', '2) ', '> ', '# ', '**', '*', '_', '`', '```', '```js\n', '~~', '~~~', '|', '| a | b |\n', '|---|---|\n', '[', '](', ')', 'http://e.org', 'javascript:x', '<img src=x onerror=y>', '\\', '!', '---\n', '\t', '&lt;', 'é', '漢字'];
    for (let i = 0; i < 1000; i++) texts.push(Array.from({ length: 1 + random(40) }, () => parts[random(parts.length)]).join(''));
    const long = ['word '.repeat(9000), 'x'.repeat(40000), '```\n' + 'y'.repeat(30000) + '\n```\nend', '- ' + 'item **bold** '.repeat(4000)];
    const allowed = new Set('P H3 H4 H5 H6 UL OL LI BLOCKQUOTE HR DIV SPAN PRE CODE BUTTON svg use TABLE THEAD TBODY TR TH TD A BR STRONG EM DEL'.split(' '));
    const render = (text, cut) => {
      const root = document.createElement('div'), markdown = createMarkdown(root);
      for (let at = 0; at < text.length;) {
        const n = cut();
        markdown.write(text.slice(at, at + n));
        at += n;
        if (at < text.length) markdown.show(false);
      }
      markdown.show(true);
      for (const node of root.querySelectorAll('*')) {
        if (!allowed.has(node.tagName)) throw new Error(`${node.tagName} from ${JSON.stringify(text)}`);
        for (const { name, value } of node.attributes) {
          if (/^on|^style$|^src$/.test(name)) throw new Error(`${name} from ${JSON.stringify(text)}`);
          if (name === 'href' && node.tagName !== 'use' && !/^https?:\/\//.test(value)) throw new Error(`${value} from ${JSON.stringify(text)}`);
        }
      }
      return root.innerHTML;
    };
    for (const text of [...texts, ...long]) {
      const whole = render(text, () => text.length), big = text.length > 9000;
      for (const cut of [() => (big ? 997 : 1), () => 1 + random(big ? 5000 : 9)]) {
        const pieces = render(text, cut);
        if (pieces !== whole) return `${JSON.stringify(text.slice(0, 300))}\nwhole:  ${whole.slice(0, 600)}\npieces: ${pieces.slice(0, 600)}`;
      }
    }
    return '';
  }, [SAMPLE, HOSTILE]);
  assert.equal(failure, '');
});

test('the cost of streaming grows with the text, not with its square', async () => {
  const shapes = { words: 'lorem ipsum ', solid: 'x', code: '```\n' + 'let a = 1;\n'.repeat(8), list: '- item **bold**\n', rows: '| a | b |\n|---|---|\n' + '| 1 | 2 |\n'.repeat(50), brackets: '[', ticks: '`a``', stars: '*a **b ', quotes: '> ', spaces: ' ', link: '[a](', dots: 'http://a.', hashes: '# ' };
  // Processor time, which other programs don't change as they change the clock's.
  await call('Performance.enable', { timeDomain: 'threadTicks' });
  const now = async () => (await call('Performance.getMetrics')).metrics.find(({ name }) => name === 'ThreadTime').value * 1000;
  const cost = async (shape, n) => {
    const begin = await now();
    await inPage((shape, n) => {
      const text = shape.repeat(Math.ceil(n / shape.length)).slice(0, n);
      const markdown = createMarkdown(document.createElement('div'));
      for (let at = 0; at < n; at += 500) {
        markdown.write(text.slice(at, at + 500));
        markdown.show(false);
      }
      markdown.show(true);
    }, shape, n);
    return (await now()) - begin;
  };
  for (const [name, shape] of Object.entries(shapes)) {
    const small = await cost(shape, 20000), large = await cost(shape, 160000);
    if (process.env.VERBOSE) console.log(`  ${name}: ${small.toFixed(0)} ms, ${large.toFixed(0)} ms`);
    assert.ok(large > 0 && large < 24 * small + 300, `${name}: 20 KB take ${small.toFixed(0)} ms, 160 KB ${large.toFixed(0)} ms`);  // eight times the text
  }
});

test('what a model says cannot act', async () => {
  await ask('hostile');
  await sleep(200);
  assert.equal(await evaluate('window.hacked'), undefined);
  assert.equal(await evaluate("document.querySelectorAll('#log :is(img, script, iframe, style, b)').length"), 0);
  assert.equal(await evaluate("document.querySelectorAll('#log a:not([href^=\"http\"])').length"), 0);
  const text = await answerText();
  for (const part of ['<img src=x onerror="window.hacked=1">', '[click](javascript:window.hacked=1)', '<svg onload=window.hacked=1>']) assert.ok(text.includes(part), part);
});

test('the copy buttons copy', async () => {
  await ask('sample');
  await click('.fence button');
  await until("document.querySelector('.fence button span').textContent === 'Copied'");
  const code = await evaluate('navigator.clipboard.readText()');
  assert.ok(code.startsWith('fn find(') && code.endsWith('\n}'), code);
  await click('.answer .tools [aria-label="Copy"]');
  await sleep(100);
  assert.equal(await evaluate('navigator.clipboard.readText()'), SAMPLE);
});

test('thinking is folded and timed', async () => {
  await say('thoughtful');
  await until("document.querySelector('.thinking.live summary')?.textContent.startsWith('Thinking, ')");
  assert.equal(await evaluate("document.querySelector('.answer > .text').hidden"), true);
  await until(IDLE);
  const [, seconds] = /^Thought for (\d+\.\d) s$/.exec(await evaluate("document.querySelector('.thinking summary').textContent"));
  assert.ok(seconds >= 0.2 && seconds < 20, seconds);
  assert.equal(await evaluate("document.querySelector('.thinking').open"), false);
  assert.equal(await answerText(), 'Four.');
  await click('.thinking summary');
  assert.equal(await evaluate("document.querySelector('.thinking .text').innerText"), 'Let me see. Two and two');
  assert.equal(await evaluate("document.querySelector('.thinking em').textContent"), 'Two');
  await ask('next');
  assert.deepEqual(lastRequest().messages[1], { role: 'assistant', content: 'Four.' });
});

test('stop ends the request and keeps what came', async () => {
  for (const how of [() => click('#send'), () => key('Escape')]) {
    const before = mock.aborted;
    await say('endless');
    await until("document.querySelector('#log > :last-child > .text')?.textContent.includes('word3')");
    assert.equal(await evaluate("document.getElementById('send').getAttribute('aria-label')"), 'Stop');
    await how();
    await until(IDLE);
    for (let i = 0; mock.aborted === before && i < 100; i++) await sleep(20);
    assert.equal(mock.aborted, before + 1, 'the server sees the end');
    assert.ok((await answerText()).startsWith('First word0'));
    assert.ok((await evaluate("document.querySelector('#log > :last-child').innerText")).includes('Stopped before its end.'));
  }
});

test('an answer can be made again', async () => {
  await ask('one');
  await ask('two');
  assert.equal(await evaluate("[...document.querySelectorAll('.again')].filter((n) => n.checkVisibility()).length"), 1);
  await click('.message:last-child .again');
  await until(IDLE);
  assert.equal(mock.requests.length, 3);
  assert.deepEqual(lastRequest(), mock.requests[1]);
  assert.equal(await evaluate("document.querySelectorAll('.message').length"), 4);
});

test('a message can be changed, and the conversation goes on from there', async () => {
  await ask('one');
  await ask('two');
  await click('.user:first-child [aria-label="Edit"]');
  assert.equal(await evaluate('document.activeElement.value'), 'one');
  await key('Escape');
  assert.equal(await evaluate("document.querySelectorAll('.message').length"), 4);
  await click('.user:first-child [aria-label="Edit"]');
  await evaluate('document.activeElement.select()');
  await type('three');
  await key('Enter');
  await until(`${IDLE} && document.querySelectorAll('.message').length === 2`);
  assert.deepEqual(lastRequest().messages, [{ role: 'user', content: 'three' }]);
  assert.equal(await answerText(), 'You said: three');
});

test('conversations are kept, renamed, deleted and brought back', async () => {
  const titles = () => evaluate("[...document.querySelectorAll('#chats .open')].map((n) => n.textContent)");
  await ask('alpha');
  await click('#new');
  await ask('beta');
  assert.deepEqual(await titles(), ['beta', 'alpha']);
  await open();
  assert.deepEqual(await titles(), ['beta', 'alpha']);
  await click('#chats li:nth-child(2) .open');
  assert.equal(await answerText(), 'You said: alpha');
  await call('Page.reload');
  await until("typeof submit === 'function' && document.querySelector('#log > :last-child > .text')?.innerText === 'You said: alpha'", 'the conversation after a reload');
  await click('#chats li.current [aria-label="Rename"]');
  await evaluate('document.activeElement.select()');
  await type('Gamma <b>');
  await key('Enter');
  assert.deepEqual(await titles(), ['beta', 'Gamma <b>']);
  assert.equal(await evaluate("document.getElementById('title').textContent"), 'Gamma <b>');
  await click('#chats li.current [aria-label="Delete"]');
  await until("document.querySelectorAll('#chats .open').length === 1");
  assert.equal(await evaluate("document.querySelectorAll('.message').length"), 0);
  await click('#notice button');
  assert.deepEqual(await titles(), ['beta', 'Gamma <b>']);
  await click('#chats li:nth-child(2) [aria-label="Delete"]');
  await open();
  assert.deepEqual(await titles(), ['beta']);
  assert.equal(await evaluate('Object.keys(localStorage).length'), 2, 'nothing of the deleted ones stays');
});

test('an answer goes on while another conversation is shown', async () => {
  await say('endless');
  await until("document.querySelector('.answer > .text')?.textContent.includes('word3')");
  await click('#new');
  await say('beta');
  await until("document.querySelector('.answer > .text')?.innerText === 'You said: beta'");
  await click('#chats li:nth-child(2) .open');
  assert.equal(await evaluate('runs.size'), 1);
  const length = (await answerText()).length;
  await until(`document.querySelector('.answer > .text').textContent.length > ${length + 30}`, 'it goes on');
  assert.match(await answerText(), /^First word0 word1 word2 /);
});

test('a reload in the middle keeps the partial answer', async () => {
  await say('endless');
  await until("document.querySelector('.answer > .text')?.textContent.includes('word9')");
  await call('Page.reload');
  await until("typeof submit === 'function' && document.querySelector('.answer .note')", 'the partial answer');
  assert.match(await answerText(), /^First word0 .*word9/);
  await click('.again');
  await until("document.querySelector('.answer > .text')?.textContent.includes('word3')");
});

test('what another tab changes is shown', async () => {
  await ask('alpha');
  // Only other pages get the event: this one is told what it would be told, after a change made behind its back.
  await inPage(() => {
    const id = current.id, put = (key, value) => {
      localStorage.setItem(key, JSON.stringify(value));
      dispatchEvent(new StorageEvent('storage', { key, newValue: JSON.stringify(value) }));
    };
    put(`forge.messages.${id}`, [{ role: 'user', content: 'alpha' }, { role: 'assistant', content: 'changed', state: 'done' }]);
    put(`forge.chat.${id}`, { title: 'Renamed', updated: Date.now() });
    put('forge.messages.other', []);
    put('forge.chat.other', { title: 'Other', updated: 1 });
    put('forge.chat.odd', 'not a conversation');
  });
  assert.equal(await answerText(), 'changed');
  assert.equal(await evaluate("document.getElementById('title').textContent"), 'Renamed');
  assert.deepEqual(await evaluate("[...document.querySelectorAll('#chats .open')].map((n) => n.textContent)"), ['Renamed', 'Other']);
  await inPage(() => {
    localStorage.removeItem('forge.chat.other');
    dispatchEvent(new StorageEvent('storage', { key: 'forge.chat.other', newValue: null }));
  });
  assert.deepEqual(await evaluate("[...document.querySelectorAll('#chats .open')].map((n) => n.textContent)"), ['Renamed']);
  await ask('beta');
  assert.deepEqual(lastRequest().messages.map((m) => m.content), ['alpha', 'changed', 'beta']);
});

test('full storage is told, and nothing breaks', async () => {
  await evaluate("Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }");
  await ask('alpha');
  assert.ok((await evaluate("document.getElementById('notice').innerText")).includes('storage is full'));
  await click('#new');
  await ask('beta');
  await click('#chats li:nth-child(2) .open');
  assert.equal(await answerText(), 'You said: alpha');
});

test('settings are in the request, and are kept', async () => {
  await until('server.context === 4096');
  await click('#settings');
  assert.equal(await evaluate("document.getElementById('set-temperature').placeholder"), '0.6');
  assert.equal(await evaluate("document.getElementById('set-top_p').placeholder"), '0.95');
  const values = { temperature: 0.25, top_p: 0.9, top_k: 20, min_p: 0.1, max_tokens: 64, seed: 7, repeat_penalty: 1.1 };
  for (const [name, value] of Object.entries(values)) {
    await evaluate(`document.getElementById('set-${name}').focus()`);
    await type(String(value));
  }
  await evaluate("document.getElementById('set-system').focus()");
  await type('Be brief.');
  await screenshot('settings');
  await evaluate("document.getElementById('set-thinking').value = 'false'; document.getElementById('set-thinking').dispatchEvent(new Event('change'))");
  await key('Escape');
  assert.equal(await evaluate("document.getElementById('options').open"), false);
  await ask('one');
  const expected = { model: 'SmolLM3-3B', messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'one' }], stream: true, stream_options: { include_usage: true }, ...values, chat_template_kwargs: { enable_thinking: false, thinking: false } };
  assert.deepEqual(lastRequest(), expected);
  await open();
  await until('server.thinking === true');
  await click('#think');
  await ask('one');
  assert.deepEqual(lastRequest(), { ...expected, chat_template_kwargs: { enable_thinking: true, thinking: true } });
  await click('#settings');
  await evaluate("document.getElementById('set-top_p').select()");
  await type('7');
  assert.equal(await evaluate("document.getElementById('set-top_p').getAttribute('aria-invalid')"), 'true');
  await click('#options .primary');
  await ask('two');
  assert.equal(lastRequest().top_p, undefined);
  await click('#settings');
  await click('#reset');
  await click('#options .primary');
  await ask('three');
  assert.deepEqual(Object.keys(lastRequest()), ['model', 'messages', 'stream', 'stream_options']);
});

test('thinking can be switched where the server says so', async () => {
  const cases = [
    [THINKS, true, true],
    [{ supports_thinking: true, supports_thinking_switch: false }, false, false],
    [{ supports_thinking: false, supports_thinking_switch: false }, false, false],
    [{ chat_template_caps: { supports_thinking: true } }, true, true],
    [{ chat_template_caps: { supports_thinking: false } }, false, false],
    [{}, false, true],  // it doesn't say: no button, and the setting is sent
  ];
  await evaluate("keep('settings', { thinking: false })");
  for (const [thinking, shown, sent] of cases) {
    mock.thinking = thinking;
    await open();
    await until('server.context === 4096');
    const what = JSON.stringify(thinking);
    assert.equal(await evaluate("document.getElementById('think').checkVisibility()"), shown, what);
    await ask('one');
    assert.deepEqual(lastRequest().chat_template_kwargs, sent ? { enable_thinking: false, thinking: false } : undefined, what);
    await click('#settings');
    assert.equal(await evaluate("document.getElementById('set-thinking').disabled"), !sent, what);
    await key('Escape');
  }
});

test('a server with a key asks for it', async () => {
  mock.key = 'sesame';
  await open();
  await until("document.getElementById('key').open");
  await type('wrong');
  await key('Enter');
  await until("document.getElementById('key').open && document.getElementById('key-help').textContent.includes('did not accept')");
  await type('sesame');
  await click('#key-save');
  await until("!document.getElementById('key').open && server.model === 'SmolLM3-3B'");
  await ask('one');
  assert.equal(await answerText(), 'You said: one');
  await call('Page.reload');
  await until("typeof submit === 'function' && server.model === 'SmolLM3-3B'", 'the key after a reload');
  assert.equal(await evaluate("JSON.stringify(Object.entries(localStorage)).includes('sesame')"), false);
  await evaluate('apiKey = null');
  await say('two');
  await until("document.getElementById('key').open");
  await click('#key [data-close]');
  await until("document.querySelector('.failure')?.innerText.includes('asks for an API key')");
});

test('errors are shown where they happen, and can be tried again', async () => {
  mock.fail = [503, 'all 4 slots are busy: try again later'];
  await ask('one');
  assert.ok((await evaluate("document.querySelector('.failure').innerText")).includes('all 4 slots are busy'));
  await click('.failure button');
  await until(`${IDLE} && !document.querySelector('.failure')`);
  assert.equal(await answerText(), 'You said: one');
  await ask('breaks');
  assert.equal(await answerText(), 'Half an answer');
  assert.ok((await evaluate("document.querySelector('.failure').innerText")).includes('out of pages'));
  await screenshot('error');
  await ask('dies');
  assert.equal(await answerText(), 'Half');
  assert.match(await evaluate("document.querySelector('#log > :last-child .failure').innerText"), /connection/);
  await evaluate("window.realFetch = fetch; window.fetch = () => Promise.reject(new TypeError('no'))");
  await ask('gone');
  assert.match(await evaluate("document.querySelector('#log > :last-child .failure').innerText"), /can’t be reached/);
});

test('the page follows the newest text only from the bottom', async () => {
  const gap = "(({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight)(document.getElementById('scroller'))";
  await say('long');
  await until("document.querySelector('.answer > .text')?.textContent.includes('Line 40')");
  assert.ok((await evaluate(gap)) < 60);
  await call('Input.dispatchMouseEvent', { type: 'mouseWheel', x: 700, y: 300, deltaX: 0, deltaY: -400 });
  await until(`${gap} > 200 && !document.getElementById('down').hidden`);
  const top = await evaluate("document.getElementById('scroller').scrollTop");
  await until(IDLE);
  assert.equal(await evaluate("document.getElementById('scroller').scrollTop"), top);
  await click('#down');
  assert.ok((await evaluate(gap)) < 2);
});

test('light, dark and the switch', async () => {
  const back = () => evaluate("getComputedStyle(document.body).backgroundColor");
  const light = await back();
  await scheme('dark');
  const dark = await back();
  assert.notEqual(light, dark);
  await click('#theme');
  assert.equal(await back(), light);
  await open();
  assert.equal(await back(), light, 'kept');
  await click('#theme');
  assert.equal(await back(), dark);
});

// WCAG: 4.5 for text.
test('texts have contrast in both themes', async () => {
  await ask('sample');
  await ask('thoughtful');
  mock.fail = [500, 'failed'];
  await ask('one');
  for (const theme of ['light', 'dark']) {
    await scheme(theme);
    const poor = await inPage(() => {
      const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
      const paint = (colors) => {
        for (const color of colors) {
          canvas.fillStyle = color;
          canvas.fillRect(0, 0, 1, 1);
        }
        const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const found = [];
      for (const node of document.querySelectorAll('body *')) {
        if (![...node.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !node.checkVisibility() || node.closest('.unseen, svg, :disabled')) continue;
        const backs = [];
        for (let n = node; n; n = n.parentElement) backs.unshift(getComputedStyle(n).backgroundColor);
        const a = paint(backs), b = paint([...backs, getComputedStyle(node).color]);
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) found.push(`${node.tagName}.${node.className} ${JSON.stringify(node.textContent.slice(0, 30))}: ${ratio.toFixed(2)}`);
      }
      return found;
    });
    assert.deepEqual(poor, [], theme);
  }
});

test('every control has a name', async () => {
  await ask('sample');
  await click('#settings');
  const unnamed = await inPage(() => [...document.querySelectorAll('button, input, textarea, select, [role=group], dialog, nav')]
    .filter((n) => !(n.getAttribute('aria-label') || n.labels?.[0]?.textContent || n.textContent.trim() || n.getAttribute('aria-labelledby')))
    .map((n) => n.outerHTML.slice(0, 100)));
  assert.deepEqual(unnamed, []);
  assert.equal(await evaluate("document.querySelectorAll('[style]:not(textarea)').length"), 0);
});

test('a telephone', async () => {
  await open(360, 740);
  const wide = () => inPage(() => {
    const found = [];
    if (document.documentElement.scrollWidth > innerWidth || document.getElementById('scroller').scrollWidth > innerWidth) found.push('the page scrolls sideways');
    for (const node of document.querySelectorAll('main *, dialog[open] *')) {
      if (!node.checkVisibility() || node.closest('pre, .table, svg, .unseen')) continue;
      const { left, right } = node.getBoundingClientRect();
      if (left < -0.5 || right > innerWidth + 0.5) found.push(`${node.tagName}.${node.className} ${left} ${right}`);
    }
    return found;
  });
  assert.deepEqual(await wide(), []);
  await say(`sample ${'longword'.repeat(30)}`);
  await until(IDLE);
  assert.deepEqual(await wide(), []);
  assert.equal(await evaluate("document.getElementById('side').checkVisibility({ visibilityProperty: true })"), false);
  await click('#menu');
  await sleep(300);
  assert.equal(await evaluate("document.getElementById('side').contains(document.activeElement)"), true);
  await key('Escape');
  await sleep(300);
  assert.equal(await evaluate("document.getElementById('side').checkVisibility({ visibilityProperty: true })"), false);
  assert.equal(await evaluate('document.activeElement.id'), 'menu');
  await click('#settings');
  assert.deepEqual(await wide(), []);
});

test('the alarm of this test rings', async () => {
  await evaluate("document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.hacked = 2' }))");
  await until("violations.length === 1");
  await sleep(100);
  assert.equal(await evaluate('window.hacked'), undefined);
  assert.ok(complaints.splice(0).length >= 1);
  await evaluate('violations.length = 0');
});

async function pictures() {
  const fill = async () => {
    await fresh();
    await evaluate(`for (const [title, age] of [['Plan a week of dinners', 0.2], ['Why is my build slow?', 1], ['Letter to the landlord', 3], ['Rust lifetimes, explained', 4], ['Names for a cat', 20]]) keep('chat.' + age, { title, updated: Date.now() - age * 86400000 })`);
    await open();
  };
  await fill();
  await until("server.model !== ''");
  await screenshot('welcome-light');
  await scheme('dark');
  await screenshot('welcome-dark');
  await scheme('light');
  scripts.How = [...scripts.thoughtful.slice(0, -1), ...scripts.sample];
  await ask('How does a B-tree differ from a red-black tree?');
  await evaluate("document.getElementById('scroller').scrollTop = 0");
  await screenshot('desktop-light');
  await scheme('dark');
  await screenshot('desktop-dark');
  await evaluate("document.getElementById('scroller').scrollTop = 1e6");
  await screenshot('desktop-dark-end');
  await scheme('light');
  await screenshot('desktop-light-end');
  await size(390, 844);
  await screenshot('phone-end');
  await evaluate("document.getElementById('scroller').scrollTop = 0");
  await screenshot('phone');
  await click('#menu');
  await screenshot('phone-menu');
  await key('Escape');
  await click('#settings');
  await screenshot('phone-settings');
  await key('Escape');
  await size(1280, 860);
  await click('.user [aria-label="Edit"]');
  await screenshot('edit');
  await say('endless');
  await until("document.querySelector('#log > :last-child > .text').textContent.includes('word40')");
  await screenshot('running');
  await key('Escape');
  mock.key = 'sesame';
  await open();
  await until("document.getElementById('key').open");
  await screenshot('key');
}

// What holds for any server and model.
async function againstServer() {
  mock.base = args.base;
  await open();
  if (args.key) {
    await until("document.getElementById('key').open");
    await type(args.key);
    await key('Enter');
  }
  await until("server.model !== ''", 'the name of the model');
  await evaluate("settings.max_tokens = 48");
  await say('Count from one to ten.');
  await until(IDLE, 'an answer', 120000);
  assert.equal(await evaluate("document.querySelector('.failure')?.innerText ?? ''"), '');
  assert.match(await evaluate("document.querySelector('.stats').textContent"), /^\d+ tokens?  ·  [\d.,]+ tokens\/s/);
  await evaluate("settings.max_tokens = 4000");
  await say('Tell a long story.');
  await until("document.querySelectorAll('.answer').length === 2 && (runs.size === 0 || [...runs.values()][0].answer.content + [...runs.values()][0].answer.reasoning !== '')", 'its first words', 60000);
  await key('Escape');
  await until(IDLE);
  const text = await evaluate("document.getElementById('log').innerText");
  await call('Page.reload');
  await until("typeof submit === 'function' && document.querySelectorAll('.message').length === 4", 'the conversation after a reload');
  assert.equal(await evaluate("document.getElementById('log').innerText"), text);
  if (args.screenshots) await screenshot('server');
  assert.deepEqual(await evaluate('violations'), []);
}

await openPage();
if (args.base) {
  step = args.base;
  await againstServer();
} else {
  const listening = http.createServer((request, response) => serve(request, response).catch((error) => end(1, error.stack)));
  await new Promise((resolve) => listening.listen(0, '127.0.0.1', resolve));
  mock.base = `http://127.0.0.1:${listening.address().port}/`;
  assert.ok(readFileSync(PAGE).length < 150000, 'the page has less than 150 KB');
  let failures = 0;
  for (const { name, run } of tests) {
    step = name;
    const begin = Date.now();
    try {
      await fresh();
      await run();
      assert.deepEqual(await evaluate('violations'), [], 'the policy is kept');
      assert.deepEqual(complaints.splice(0), [], 'no error on the console');
      console.log(`ok    ${name} (${Date.now() - begin} ms)`);
    } catch (error) {
      failures++;
      complaints.length = 0;
      console.log(`FAIL  ${name}\n${error.stack}`);
    }
  }
  step = 'pictures';
  if (args.screenshots) await pictures();
  if (failures) end(1, `${failures} of ${tests.length} tests failed`);
}
if (!finished) {
  assert.deepEqual(complaints, []);
  end(0, 'passed');
}
