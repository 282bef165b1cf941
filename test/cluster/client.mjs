// An HTTP/1.1 client that says what the checkers need to know about a failed request: whether it may have been executed. A connection
// that was never made proves that it was not; everything after that is in doubt.
import { Agent, request as httpRequest } from "node:http";

const agent = new Agent({ keepAlive: true, maxSockets: 256 });

export class RequestError extends Error {
  constructor(message, { unsent, code }) {
    super(message);
    this.unsent = unsent; // true: no connection existed, so nothing was executed
    this.code = code;
  }
}

// {status, headers, text, body (parsed JSON if possible)}; throws RequestError. `timeoutMs` bounds the whole request.
export function send(url, { method = "POST", body, headers = {}, timeoutMs = 20_000 } = {}) {
  const payload = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    let connected = false;
    const request = httpRequest(url, {
      method,
      agent,
      headers: { ...(payload === undefined ? {} : { "content-type": "application/json" }), ...headers },
    });
    const fail = (message, code) => {
      clearTimeout(timer);
      reject(new RequestError(`${method} ${url}: ${message}`, { unsent: !connected, code }));
    };
    const timer = setTimeout(() => {
      fail(`no answer within ${timeoutMs} ms`, "TIMEOUT");
      request.destroy();
    }, timeoutMs);
    request.on("socket", (socket) => {
      if (socket.connecting) socket.once("connect", () => (connected = true));
      else connected = true;
    });
    request.on("error", (error) => fail(error.message, error.code));
    request.on("response", (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", (error) => fail(error.message, error.code));
      response.on("end", () => {
        clearTimeout(timer);
        const text = Buffer.concat(chunks).toString("utf8");
        let parsed = text;
        try {
          parsed = JSON.parse(text);
        } catch {
          // not JSON: keep the text
        }
        resolve({ status: response.statusCode, headers: response.headers, text, body: parsed });
      });
    });
    request.end(payload);
  });
}
