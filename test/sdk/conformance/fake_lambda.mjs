// A small fake of AWS: the Invoke API of Lambda and AssumeRole of STS. Functions are handlers of the official SDK's Lambda flavour,
// run in this process. Every request must carry a valid SigV4 signature of known credentials, computed here from the documentation of
// AWS and not from the server's code.
import { createHash, createHmac, randomUUID } from "node:crypto";
import { createServer } from "node:http";

const hmac = (key, text) => createHmac("sha256", key).update(text).digest();
const sha256 = (data) => createHash("sha256").update(data).digest("hex");
const encode = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
const error = (status, type, message, headers = {}) => ({
  status,
  headers: { "content-type": "application/json", "x-amzn-errortype": `${type}:http://internal.amazon.com/coral/`, ...headers },
  body: JSON.stringify({ message }),
});

export class FakeLambda {
  // `functions`: ARN → async (event, context) => response.
  static async start(functions) {
    const fake = new FakeLambda();
    fake.functions = functions;
    fake.credentials = { AKIDEXAMPLE: { secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" } };
    fake.roles = {}; // ARN of the role → external id or undefined
    fake.invokes = []; // {arn, event, raw, accessKeyId, result}
    fake.refused = []; // reasons
    fake.next = []; // answers of the API instead of invoking: {status, headers, body}
    fake.server = createServer((request, response) => fake.#serve(request, response));
    await new Promise((resolve) => fake.server.listen(0, "127.0.0.1", resolve));
    fake.url = `http://127.0.0.1:${fake.server.address().port}`;
    return fake;
  }
  async stop() {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }
  // What a server needs to use it.
  env(more = {}) {
    return {
      AWS_ENDPOINT_URL: this.url,
      AWS_ACCESS_KEY_ID: "AKIDEXAMPLE",
      AWS_SECRET_ACCESS_KEY: this.credentials.AKIDEXAMPLE.secret,
      AWS_REGION: "eu-central-1",
      AWS_EC2_METADATA_DISABLED: "true",
      ...more,
    };
  }

  async #serve(request, response) {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    let answer;
    try {
      answer = await this.#answer(request, body);
    } catch (e) {
      answer = error(500, "ServiceException", String(e));
    }
    if (answer.status === 403) this.refused.push(answer.body);
    response.writeHead(answer.status, { "x-amzn-requestid": randomUUID(), ...answer.headers });
    response.end(answer.body);
  }

  async #answer(request, body) {
    const url = new URL(request.url, this.url);
    const arn = /^\/2015-03-31\/functions\/([^/]+)\/invocations$/.exec(request.url)?.[1];
    const region = arn ? decodeURIComponent(arn).split(":")[3] : undefined;
    const signed = this.#check(request, url, body, arn ? "lambda" : "sts", region);
    if (signed.problem) return error(403, "InvalidSignatureException", signed.problem);
    if (!arn) return this.#assumeRole(request.method === "POST" ? new URLSearchParams(body.toString()) : url.searchParams);
    if (request.method !== "POST" || request.headers["content-length"] !== String(body.length) || request.headers["transfer-encoding"])
      return error(411, "LengthRequiredException", "POST with a content-length is expected");
    if ((request.headers["x-amz-invocation-type"] ?? "RequestResponse") !== "RequestResponse")
      return error(400, "InvalidParameterValueException", "only synchronous invocations");
    const canned = this.next.shift();
    if (canned) return canned;
    return this.#invoke(decodeURIComponent(arn), body, signed.accessKeyId);
  }

  async #invoke(arn, body, accessKeyId) {
    const handler = this.functions[arn];
    if (!handler) return error(404, "ResourceNotFoundException", `Function not found: ${arn}`);
    const call = { arn, raw: body.toString(), event: JSON.parse(body), accessKeyId };
    this.invokes.push(call);
    try {
      call.result = await handler(call.event, { awsRequestId: randomUUID(), invokedFunctionArn: arn });
    } catch (e) {
      const payload = JSON.stringify({ errorType: e.name, errorMessage: e.message, trace: [] });
      return { status: 200, headers: { "x-amz-function-error": "Unhandled" }, body: payload };
    }
    return { status: 200, headers: { "content-type": "application/json" }, body: JSON.stringify(call.result) };
  }

  #assumeRole(parameters) {
    const role = parameters.get("RoleArn");
    if (parameters.get("Action") !== "AssumeRole" || parameters.get("Version") !== "2011-06-15")
      return error(400, "InvalidAction", "only AssumeRole");
    if (!(role in this.roles) || this.roles[role] !== (parameters.get("ExternalId") ?? undefined))
      return { status: 403, headers: {}, body: `<ErrorResponse><Error><Code>AccessDenied</Code><Message>not ${role}</Message></Error></ErrorResponse>` };
    this.assumed = (this.assumed ?? 0) + 1;
    this.sessionName = parameters.get("RoleSessionName");
    const id = `ASIA${this.assumed}${role.length}`;
    this.credentials[id] = { secret: `secret/${randomUUID()}+`, token: `token+${randomUUID()}==` };
    const { secret, token } = this.credentials[id];
    const expiration = new Date(Date.now() + 3600_000).toISOString();
    return {
      status: 200,
      headers: { "content-type": "text/xml" },
      body: `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>${id}</AccessKeyId><SecretAccessKey>${secret}</SecretAccessKey><SessionToken>${token}</SessionToken><Expiration>${expiration}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
    };
  }

  // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
  #check(request, url, body, service, wantedRegion) {
    const m = /^AWS4-HMAC-SHA256 Credential=([^,]+), ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(request.headers.authorization ?? "");
    if (!m) return { problem: "no signature" };
    const [accessKeyId, day, region, signedService, end] = m[1].split("/");
    const names = m[2].split(";");
    const date = request.headers["x-amz-date"] ?? "";
    const known = this.credentials[accessKeyId];
    if (!known) return { problem: `unknown access key id ${accessKeyId}` };
    if (signedService !== service || end !== "aws4_request" || (wantedRegion && region !== wantedRegion)) return { problem: `bad scope ${m[1]}` };
    if (!date.startsWith(day) || Math.abs(Date.parse(date.replace(/^(....)(..)(..T..)(..)(..Z)$/, "$1-$2-$3:$4:$5")) - Date.now()) > 300_000)
      return { problem: `bad date ${date}` };
    if (!names.includes("host") || !names.includes("x-amz-date")) return { problem: "host and x-amz-date must be signed" };
    if ((known.token ?? undefined) !== request.headers["x-amz-security-token"]) return { problem: "wrong session token" };
    const path = url.pathname.split("/").map(encode).join("/"); // once more: this is not S3
    const query = [...url.searchParams].map(([k, v]) => `${encode(k)}=${encode(v)}`).sort().join("&");
    const headers = names.map((n) => `${n}:${String(request.headers[n] ?? "").trim().replace(/ +/g, " ")}\n`).join("");
    const canonical = [request.method, path, query, headers, m[2], request.headers["x-amz-content-sha256"] ?? sha256(body)].join("\n");
    const toSign = ["AWS4-HMAC-SHA256", date, `${day}/${region}/${service}/aws4_request`, sha256(canonical)].join("\n");
    let key = `AWS4${known.secret}`;
    for (const part of [day, region, service, "aws4_request"]) key = hmac(key, part);
    if (hmac(key, toSign).toString("hex") !== m[3]) return { problem: "The request signature we calculated does not match the signature you provided." };
    return { accessKeyId };
  }
}
