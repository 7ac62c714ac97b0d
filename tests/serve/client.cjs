// OpenAI's package for JavaScript against the server at OPENAI_BASE_URL; prints what came as one JSON object.
const { OpenAI } = require("openai");
const { zodResponseFormat } = require("openai/helpers/zod");
const { z } = require("zod");

const messages = [{ role: "user", content: "hello" }];
const parameters = {
  type: "object",
  properties: { city: { enum: ["Paris", "Oslo"] } },
  required: ["city"],
  additionalProperties: false,
};
const tool = { type: "function", function: { name: "weather", parameters } };

async function main() {
  const client = new OpenAI({ maxRetries: 0 });
  const model = (await client.models.list()).data[0].id;
  const asked = { model, messages, max_tokens: 8, temperature: 0 };

  const whole = (await client.chat.completions.create(asked)).choices[0].message.content;

  let streamed = "";
  const stream = await client.chat.completions.create({
    ...asked,
    stream: true,
    stream_options: { include_usage: true },
  });
  let usage;
  for await (const chunk of stream) {
    streamed += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }

  const runner = client.chat.completions.stream(asked); // the package's own gathering of a stream
  const gathered = (await runner.finalChatCompletion()).choices[0].message.content;

  const Choice = z.object({ a: z.enum(["x", "y"]) });
  const parsed = await client.chat.completions.parse({
    ...asked,
    max_tokens: 64,
    response_format: zodResponseFormat(Choice, "choice"),
  });

  const called = await client.chat.completions.create({
    ...asked,
    max_tokens: 64,
    tools: [tool],
    tool_choice: "required",
  });
  const call = called.choices[0].message.tool_calls[0];

  const vectors = await client.embeddings.create({ model, input: ["a", "b"] });
  const text = (await client.completions.create({ model, prompt: "a", max_tokens: 2 })).choices[0].text;

  const refusals = [];
  for (const wrong of [{ model: "gpt-4" }, { temperature: -1 }]) {
    await client.chat.completions.create({ ...asked, ...wrong }).catch((error) => refusals.push(error.constructor.name));
  }
  const stranger = new OpenAI({ maxRetries: 0, apiKey: "x" });
  await stranger.models.list().catch((error) => refusals.push(error.constructor.name));

  let pieces = 0;
  const cut = await client.chat.completions.create({ ...asked, max_tokens: 100_000, stream: true, ignore_eos: true });
  for await (const _ of cut) {
    if (++pieces === 3) break; // which ends the connection
  }

  console.log(
    JSON.stringify({
      whole,
      streamed,
      gathered,
      tokens: usage.completion_tokens,
      parsed: parsed.choices[0].message.parsed,
      call: { name: call.function.name, arguments: JSON.parse(call.function.arguments) },
      vectors: vectors.data.map((each) => each.embedding),
      text,
      refusals,
      pieces,
    }),
  );
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
