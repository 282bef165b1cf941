// An endpoint that breaks the rules of the service protocol (spec/service-protocol.md §3.8, §4.2, §7, §9.1, §13): what the user is
// told, and that nothing else suffers. The endpoint is written by hand; what it answers depends on the handler.
import { after, before, describe } from "node:test";
import http2 from "node:http2";
import { freePort } from "../harness.mjs";
import { assert, check, eventually, events, row, Server } from "./world.mjs";

// ---- messages (§4.1, §5) ----
const bytes = (text) => (typeof text === "string" ? Buffer.from(text) : text);
function varint(n) {
  const out = [];
  for (; n > 127; n = Math.floor(n / 128)) out.push((n % 128) | 128);
  return Buffer.from([...out, n]);
}
const number = (field, n) => Buffer.concat([varint(field * 8), varint(n)]);
const data = (field, content) => Buffer.concat([varint(field * 8 + 2), varint(bytes(content).length), bytes(content)]);
function frame(type, fields = [], length) {
  const payload = Buffer.concat([fields].flat());
  const head = Buffer.alloc(8);
  head.writeUInt16BE(type, 0);
  head.writeUInt32BE(length ?? payload.length, 4);
  return Buffer.concat([head, payload]);
}
const [SUSPENSION, ERROR, END, PROPOSE_RUN, AWAITING_ON] = [1, 2, 3, 5, 6];
const [OUTPUT, SET_STATE, GET_PROMISE, SLEEP, CALL, ONE_WAY_CALL] = [0x401, 0x403, 0x409, 0x40c, 0x40d, 0x40e];
const [SEND_SIGNAL, RUN, ATTACH, GET_OUTPUT, COMPLETE_AWAKEABLE] = [0x410, 0x411, 0x412, 0x413, 0x414];
const garbage = Buffer.from("ffffffff", "hex");
const empty = Buffer.alloc(0);
const value = data(1, "x");
const error = (code, message, ...fields) => frame(ERROR, [number(1, code), data(2, message), ...fields]);
const call = (service, handler, ...fields) => frame(CALL, [data(1, service), data(2, handler), ...fields, number(10, 1), number(11, 2)]);
const nobody = data(1, "inv_1000000000000000000000000000000000");
const precondition = (command, reason, index = 1) =>
  `cannot process command Command: ${command} (command index ${index}) because of a failed precondition: ${reason}`;
const undecodable = (type) => new RegExp(`^message encoding error: cannot decode message type ${type}\\. Reason: `);

// ---- what is answered, and what the failure says: a text or a pattern, its documentation code ----
const any = /./;
const cases = {
  // message types (§4.2)
  start: [frame(0), "received unexpected message: Start", "RT0012"],
  commandAck: [frame(4, [number(1, 1)]), "received unexpected message: CommandAck", "RT0012"],
  runAck: [frame(7, [number(1, 1)]), "received unexpected message: ProposeRunCompletionAck", "RT0012"],
  completion: [frame(0x800c, [number(1, 1), data(4, empty)]), "received unexpected message: SleepCompletionNotification", "RT0012"],
  signal: [frame(0xfbff, [number(2, 17), data(4, empty)]), "received unexpected message: SignalNotification", "RT0012"],
  unknownControl: [frame(8), "message encoding error: unknown protocol.message code 0x8", "RT0012"],
  // payloads
  undecodableCall: [frame(CALL, garbage), undecodable("CallCommand"), "RT0012"],
  undecodableSend: [frame(ONE_WAY_CALL, garbage), undecodable("OneWayCallCommand"), "RT0012"],
  undecodableError: [frame(ERROR, garbage), undecodable("Error"), "RT0012"],
  undecodableSuspension: [frame(SUSPENSION, garbage), undecodable("Suspension"), "RT0012"],
  undecodableAwaitingOn: [frame(AWAITING_ON, garbage), undecodable("AwaitingOn"), "RT0012"],
  undecodableProposal: [frame(PROPOSE_RUN, garbage), undecodable("ProposeRunCompletion"), "RT0012"],
  undecodableEnd: [frame(END, garbage), undecodable("End"), "RT0012"],
  undecodableName: [call(Buffer.from([255]), "ok"), undecodable("CallCommand"), "RT0012"],
  undecodableSleep: [frame(SLEEP, garbage), any, "RT0012"],
  undecodableRun: [frame(RUN, garbage), any, "RT0012"],
  undecodableAttach: [frame(ATTACH, garbage), any, "RT0012"],
  wrongType: [frame(SLEEP, data(1, "abc")), any, "RT0012"],
  proposalOfNothing: [frame(PROPOSE_RUN, number(1, 1)), "malformed ProposeRunCompletionMessage, missing result field", "RT0012"],
  awaitingNothing: [frame(AWAITING_ON), "got empty AwaitingOnMessage", "RT0012"],
  suspendedOnNothing: [frame(SUSPENSION), any, "RT0012"],
  signalToNoId: [frame(SEND_SIGNAL, [data(1, "inv_1x"), number(2, 17), data(4, empty)]), any, "RT0012"],
  signalWithoutName: [frame(SEND_SIGNAL, [nobody, data(4, empty)]), any, "RT0012"],
  signalWithoutResult: [frame(SEND_SIGNAL, [nobody, number(2, 17)]), any, "RT0012"],
  awakeableOfNoId: [frame(COMPLETE_AWAKEABLE, [data(1, "sign_1x"), data(2, value)]), any, "RT0012"],
  tooLarge: [frame(OUTPUT, empty, 33816576), "message encoding error: hit message size limit: 33816576 >= 33816576", "RT0003"],
  // ends
  nothing: [empty, "unknown", "RT0007"],
  onlyARun: [frame(RUN, number(11, 1)), "unknown", "RT0007"],
  halfAMessage: [frame(RUN, number(11, 1), 100), any, null],
  // preconditions (§7)
  setState: [frame(SET_STATE, [data(1, "k"), data(3, value)]), precondition("SetState", "unsupported entry type, this service type doesn't have state access"), "RT0017"],
  promise: [
    Buffer.concat([frame(RUN, number(11, 1)), frame(GET_PROMISE, [data(1, "p"), number(11, 2)])]),
    precondition("GetPromise", "unsupported entry type, only Workflow services support it", 2),
    "RT0017",
  ],
  callNobody: [call("Nobody", "go"), precondition("Call", "the service handler Nobody/go was not found"), "RT0018"],
  callNoHandler: [call("Raw", "go"), precondition("Call", "the service handler Raw/go was not found"), "RT0018"],
  callWithKey: [
    call("Raw", "ok", data(5, "key")),
    precondition("Call", "a key was provided, but the callee 'Raw' is a Service. Only VirtualObjects or Workflows accept a key"),
    "RT0017",
  ],
  callWithEmptyIdempotencyKey: [call("Raw", "ok", data(6, "")), precondition("Call", "the idempotency key provided in the request is empty"), "RT0017"],
  callWithLimitKeyOnly: [
    call("Raw", "ok", data(8, "l")),
    precondition("Call", "limit key was provided without a scope. Limit keys take effect only when used in combination with scope"),
    "RT0024",
  ],
  callInScope: [call("Raw", "ok", data(7, "s")), precondition("Call", "scoped invocations require flow control experimental feature to be enabled"), "RT0024"],
  attachToNoId: [frame(ATTACH, [data(1, "inv_1x"), number(11, 1)]), precondition("AttachInvocation", "invalid invocation id inv_1x: bad length"), "RT0017"],
  outputOfNoId: [frame(GET_OUTPUT, [data(1, "foo"), number(11, 1)]), precondition("GetInvocationOutput", "invalid invocation id foo: bad format"), "RT0017"],
  // errors of the SDK (§9.1); its text is `[code name] message`, then the stack trace
  error571: [error(571, "violated"), "violated", "RT0012"],
  error570: [error(570, "differs", number(4, 1), data(5, "step"), number(6, RUN)), "differs", "RT0016", [1, "step", "Run"]],
  error572: [error(572, "two at once"), "two at once", "RT0007"],
  errorAboveTheSpace: [error(70000, "large"), "large", "RT0007"],
  errorOfANamedCommand: [error(500, "named", data(5, "only its name")), "named", "RT0007", [null, "only its name", null]],
  errorWithStack: [error(500, "boom", data(3, "at line 1\nat line 2")), "boom\nat line 1\nat line 2", "RT0007"],
  // responses (§3.8)
  status302: [{ status: 302 }, "unexpected http status code: 302 Found", "RT0012"],
  status401: [{ status: 401 }, "unexpected http status code: 401 Unauthorized", "RT0012"],
  status404: [{ status: 404 }, "unexpected http status code: 404 Not Found", "RT0012"],
  status413: [{ status: 413 }, "service replied with content too large", "RT0019"],
  status415: [{ status: 415 }, "cannot start the invocation because the SDK doesn't support the protocol version '6' negotiated at discovery time", "RT0015"],
  status429: [{ status: 429 }, "service is rate limited due to '429 Too Many Requests'", "RT0023"],
  status502: [{ status: 502 }, "service is temporary unavailable '502 Bad Gateway'", "RT0010"],
  noContentType: [{ type: null }, any, "RT0012"],
  otherContentType: [{ type: "application/json" }, any, "RT0012"],
};
// The reference stores these: its partition, or the node, can do nothing more after it (§13).
const harmful = {
  attachToNothing: [frame(ATTACH, number(11, 1)), undecodable("AttachInvocationCommand"), "RT0012"],
  outputOfNothing: [frame(GET_OUTPUT, number(11, 1)), undecodable("GetInvocationOutputCommand"), "RT0012"],
  unknownCustom: [frame(0x600), "message encoding error: unknown protocol.message code 0x600", "RT0012"],
  unknownCommand: [frame(0x415), "message encoding error: unknown protocol.message code 0x415", "RT0012"],
  unknownNotification: [frame(0x8020), "message encoding error: unknown protocol.message code 0x8020", "RT0012"],
  outputWithoutResult: [Buffer.concat([frame(OUTPUT), frame(END)]), undecodable("OutputCommand"), "RT0012"],
  endAtOnce: [frame(END), any, "RT0012"],
  endWithoutOutput: [Buffer.concat([frame(RUN, number(11, 1)), frame(END)]), any, "RT0012"],
};
const all = { ...cases, ...harmful };
// Results at the edge of what is allowed: the status and what the client is told.
const output = (...fields) => [Buffer.concat([frame(OUTPUT, data(15, Buffer.concat(fields))), frame(END)])];
const ends = {
  failureAboveTheSpace: [...output(number(1, 70000), data(2, "large")), [500, { code: 500, message: "large" }]],
  failureWithoutCode: [...output(), [500, { code: 0, message: "" }]],
  failure418: [...output(number(1, 418), data(2, "teapot")), [418, { code: 418, message: "teapot" }]],
  failure600: [...output(number(1, 600), data(2, "six")), [600, { code: 600, message: "six" }]],
};

function answer(stream, headers) {
  const respond = (head, body) => {
    stream.respond({ ":status": 200, "content-type": headers.accept, ...head });
    stream.end(body);
  };
  stream.on("error", () => {});
  stream.resume();
  if (headers[":path"] === "/discover") {
    const handlers = [...Object.keys({ ...all, ...ends }), "ok"].map((name) => ({ name }));
    const manifest = { protocolMode: "BIDI_STREAM", minProtocolVersion: 5, maxProtocolVersion: 7, services: [{ name: "Raw", ty: "SERVICE", handlers }] };
    return respond({ "content-type": headers.accept.split(", ").at(-1) }, JSON.stringify(manifest));
  }
  const what = { ...all, ...ends }[headers[":path"].split("/").at(-1)]?.[0] ?? Buffer.concat([frame(OUTPUT, data(14, empty)), frame(END)]);
  if (Buffer.isBuffer(what)) return respond({}, what);
  respond({ ":status": what.status ?? 200, ...("type" in what ? { "content-type": what.type ?? undefined } : {}) }, empty);
}

describe("an endpoint that breaks the rules", { concurrency: 8 }, () => {
  const w = {};
  before(
    async () => {
      w.endpoint = http2.createServer().on("stream", answer).on("sessionError", () => {});
      const port = await freePort();
      await new Promise((resolve) => w.endpoint.listen(port, "127.0.0.1", resolve));
      const env = { RESTATE_DEFAULT_RETRY_POLICY__INITIAL_INTERVAL: "1h", RESTATE_DEFAULT_RETRY_POLICY__MAX_INTERVAL: "1h" };
      w.server = await Server.start({ env });
      await w.server.register({ uri: `http://127.0.0.1:${port}` });
    },
    { timeout: 30_000 },
  );
  after(async () => {
    await w.server?.dispose();
    w.endpoint?.close();
  });

  for (const [name, [, [status, told]]] of Object.entries(ends))
    check(`Protocol: ${name}`, async () => {
      const r = await w.server.request(`/Raw/${name}`, {});
      assert.deepEqual([r.status, r.body], [status, { ...told, source: "invocation" }]);
    });
  const related = ["index", "name", "type"].map((what) => `last_failure_related_command_${what}`);
  for (const [name, [, text, code, command = [null, null, null]]] of Object.entries(all))
    check(
      `Protocol: ${name}`,
      async () => {
        const { invocationId: id } = await w.server.send(`/Raw/${name}`);
        const r = await eventually(async () => {
          const seen = await row(w.server, id, `status, last_failure, last_failure_error_code, ${related}`);
          return seen?.last_failure && seen;
        });
        const said = r.last_failure.replace(/^\[\d+[^\]]*\] /, "");
        if (typeof text === "string") assert.equal(said, text);
        else assert.match(said, text);
        if (code) assert.equal(r.last_failure_error_code, code);
        assert.deepEqual(related.map((column) => r[column] ?? null), command);
        assert.equal(r.status, "backing-off");
        const [event] = await eventually(async () => ((list) => list.length > 0 && list)(await events(w.server, id)));
        assert.equal(event.restate_doc_error_code, r.last_failure_error_code);
        assert.equal(await w.server.request("/Raw/ok").then((ok) => ok.status), 200); // nobody else suffers
      },
      name in harmful ? { differs: "it cannot go on" } : {},
    );
});
