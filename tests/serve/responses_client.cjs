// The Responses API of OpenAI's package for JavaScript against the server at OPENAI_BASE_URL; prints what came as one JSON object.
const { OpenAI } = require("openai");
const { zodTextFormat } = require("openai/helpers/zod");
const { z } = require("zod");

const parameters = {
  type: "object",
  properties: { city: { enum: ["Paris", "Oslo"] } },
  required: ["city"],
  additionalProperties: false,
};
const tools = [{ type: "function", name: "weather", parameters, strict: true }];

async function main() {
  const client = new OpenAI({ maxRetries: 0 });
  const model = (await client.models.list()).data[0].id;
  const asked = { model, input: "hello", max_output_tokens: 8, temperature: 0 };

  const whole = await client.responses.create(asked);

  let streamed = "";
  let last;
  for await (const event of await client.responses.create({ ...asked, stream: true })) {
    if (event.type === "response.output_text.delta") streamed += event.delta;
    last = event;
  }

  const gathered = await client.responses.stream(asked).finalResponse(); // the package's own gathering of a stream

  const format = zodTextFormat(z.object({ a: z.enum(["x", "y"]) }), "choice");
  const parsed = await client.responses.parse({ ...asked, max_output_tokens: 64, text: { format } });

  const input = [{ role: "user", content: "hello" }];
  const called = await client.responses.create({
    ...asked,
    input,
    max_output_tokens: 64,
    tools,
    tool_choice: "required",
  });
  const call = called.output[0];
  const result = { type: "function_call_output", call_id: call.call_id, output: "rain" };
  const again = await client.responses.create({ ...asked, tools, input: [...input, ...called.output, result] });

  const refusals = [];
  for (const wrong of [{ model: "gpt-4" }, { temperature: -1 }, { previous_response_id: "resp_1" }]) {
    await client.responses.create({ ...asked, ...wrong }).catch((error) => refusals.push(error.constructor.name));
  }

  let pieces = 0;
  const cut = await client.responses.create({ ...asked, max_output_tokens: 100_000, stream: true, ignore_eos: true });
  for await (const _ of cut) {
    if (++pieces === 7) break; // which ends the connection
  }

  console.log(
    JSON.stringify({
      whole: whole.output_text,
      streamed,
      gathered: gathered.output_text,
      last: last.response.status === whole.status,
      tokens: last.response.usage.output_tokens,
      parsed: parsed.output_parsed,
      call: { name: call.name, arguments: JSON.parse(call.arguments), again: again.object },
      refusals,
      pieces,
    }),
  );
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
