// Asks a server of the bundled model with the official clients. Arguments: its URL, a key.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embed, generateText, streamText } from "ai";
import OpenAI from "openai";

const [url, key] = process.argv.slice(2);
const messages = [{ role: "user", content: "Tell me a story about a cat." }];
const settings = { messages, max_tokens: 24, temperature: 0, model: "storyteller" };
let expected;

async function openai() {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key });
  const [model] = (await client.models.list()).data;
  assert.equal((await client.models.retrieve(model.id)).id, model.id);
  const chat = await client.chat.completions.create(settings);
  expected = chat.choices[0].message.content;
  assert.ok(expected.length > 40, expected);
  assert.equal(chat.choices[0].finish_reason, "length");
  assert.equal(chat.usage.completion_tokens, 24);

  let text = "";
  let usage;
  for await (const chunk of await client.chat.completions.create({ ...settings, stream: true, stream_options: { include_usage: true } })) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, expected);
  assert.equal(usage.completion_tokens, 24);

  const run = client.chat.completions.stream(settings);
  assert.equal((await run.finalChatCompletion()).choices[0].message.content, expected);

  const several = await client.chat.completions.create({ ...settings, temperature: 1, n: 3, seed: 1, logprobs: true, top_logprobs: 2 });
  assert.equal(several.choices.length, 3);
  assert.equal(several.choices[1].logprobs.content.length, 24);

  const completion = await client.completions.create({ model: "x", prompt: "Once upon a time", max_tokens: 5, echo: true, logprobs: 1 });
  assert.ok(completion.choices[0].text.startsWith("Once upon a time"));

  const vectors = await client.embeddings.create({ model: "x", input: ["a cat", "a cat", "the sea"] });  // base64 beneath
  assert.equal(vectors.data[0].embedding.length, 256);
  assert.deepEqual(vectors.data[0].embedding, vectors.data[1].embedding);
  assert.ok(Math.abs(Math.hypot(...vectors.data[2].embedding) - 1) < 1e-3);

  const response = await client.responses.create({ model: "x", input: messages[0].content, max_output_tokens: 24, temperature: 0 });
  assert.equal(response.output_text, expected);
  text = "";
  for await (const event of await client.responses.create({ model: "x", input: messages, max_output_tokens: 24, temperature: 0, stream: true }))
    if (event.type === "response.output_text.delta") text += event.delta;
  assert.equal(text, expected);

  await assert.rejects(client.chat.completions.create({ ...settings, temperature: "hot" }), (e) => e instanceof OpenAI.BadRequestError && e.param === "temperature");
  await assert.rejects(client.chat.completions.create({ ...settings, messages: [{ role: "user", content: "x".repeat(20000) }] }), (e) => e.code === "context_length_exceeded");
  await assert.rejects(new OpenAI({ baseURL: `${url}/v1`, apiKey: "wrong" }).models.list(), (e) => e instanceof OpenAI.AuthenticationError && e.code === "invalid_api_key");

  // A stream that is given up: the server goes on with others.
  const stream = await client.chat.completions.create({ ...settings, max_tokens: 900, ignore_eos: true, stream: true });
  for await (const chunk of stream) if (chunk.choices[0]?.delta?.content) break;
  assert.equal((await client.chat.completions.create(settings)).choices[0].message.content, expected);
}

async function anthropic() {
  const client = new Anthropic({ baseURL: url, apiKey: key });
  const message = await client.messages.create(settings);
  assert.equal(message.content[0].text, expected);
  assert.equal(message.stop_reason, "max_tokens");
  assert.equal((await client.messages.countTokens({ model: "x", messages })).input_tokens, message.usage.input_tokens + message.usage.cache_read_input_tokens);
  const stream = client.messages.stream({ ...settings, stop_sequences: [","] });
  let text = "";
  stream.on("text", (piece) => (text += piece));
  const last = await stream.finalMessage();
  assert.equal(last.content[0].text, expected.split(",")[0]);
  assert.equal(text, last.content[0].text);
  assert.equal(last.stop_reason, "stop_sequence");
  assert.equal(last.stop_sequence, ",");
  await assert.rejects(client.messages.create({ ...settings, max_tokens: undefined }), (e) => e instanceof Anthropic.BadRequestError);
}

async function vercel() {
  const provider = createOpenAICompatible({ name: "forge", baseURL: `${url}/v1`, apiKey: key });
  const options = { model: provider("storyteller"), messages, maxTokens: 24, temperature: 0, maxRetries: 0 };
  assert.equal((await generateText(options)).text, expected);
  const { textStream, usage } = streamText(options);
  let text = "";
  for await (const piece of textStream) text += piece;
  assert.equal(text, expected);
  assert.ok((await usage) !== undefined);
  const { embedding } = await embed({ model: provider.textEmbeddingModel("x"), value: "a cat" });
  assert.equal(embedding.length, 256);
}

for (const test of [openai, anthropic, vercel]) {
  await test();
  console.log(`ok ${test.name}`);
}
