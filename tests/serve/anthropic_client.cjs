// Anthropic's package for JavaScript against the server at ANTHROPIC_BASE_URL; prints what came as one JSON object.
const { Anthropic } = require("@anthropic-ai/sdk");

const messages = [{ role: "user", content: "hello" }];
const input_schema = { type: "object", properties: { city: { enum: ["Paris", "Oslo"] } }, required: ["city"] };
const tools = [{ name: "weather", description: "What the sky does.", input_schema }];

async function main() {
  const client = new Anthropic({ maxRetries: 0 });
  const model = (await client.models.list()).data[0].id;
  const asked = { model, messages, max_tokens: 8, temperature: 0 };

  const whole = await client.messages.create(asked);

  let streamed = "";
  for await (const event of await client.messages.create({ ...asked, stream: true })) {
    if (event.type === "content_block_delta") streamed += event.delta.text;
  }

  const gathered = await client.messages.stream(asked).finalMessage(); // the package's own gathering of a stream

  const used = await client.messages.create({ ...asked, max_tokens: 64, tools, tool_choice: { type: "any" } });
  const use = used.content[0];
  const calling = client.messages.stream({ ...asked, max_tokens: 64, tools, tool_choice: { type: "any" } });
  const streamedUse = (await calling.finalMessage()).content[0];
  const result = { type: "tool_result", tool_use_id: use.id, content: "rain" };
  const turns = [...messages, { role: "assistant", content: used.content }, { role: "user", content: [result] }];
  const again = await client.messages.create({ ...asked, tools, messages: turns });

  const counted = await client.messages.countTokens({ model, messages });

  const refusals = [];
  for (const wrong of [{ model: "claude-opus" }, { temperature: -1 }]) {
    await client.messages.create({ ...asked, ...wrong }).catch((error) => refusals.push(error.constructor.name));
  }
  const stranger = new Anthropic({ maxRetries: 0, apiKey: "x" });
  await stranger.messages.create(asked).catch((error) => refusals.push(error.constructor.name));

  let pieces = 0;
  const cut = await client.messages.create({ ...asked, max_tokens: 100_000, stream: true, ignore_eos: true });
  for await (const _ of cut) {
    if (++pieces === 5) break; // which ends the connection
  }

  console.log(
    JSON.stringify({
      whole: whole.content[0].text,
      streamed,
      gathered: gathered.content[0].text,
      usage: [whole.usage.input_tokens + whole.usage.cache_read_input_tokens, whole.usage.output_tokens],
      counted: counted.input_tokens,
      tool: { stop_reason: used.stop_reason, inputs: [use.input, streamedUse.input], again: again.type },
      refusals,
      pieces,
    }),
  );
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
