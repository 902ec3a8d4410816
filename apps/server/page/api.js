// Calls of the server's API. Every failure is an ApiError with a message to show.

export class ApiError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

let key = sessionStorage.getItem("key") ?? "";

export function setKey(value) {
  key = value;
  sessionStorage.setItem("key", value);
}

export function isAbort(error) {
  return error.name === "AbortError";
}

async function errorOf(response) {
  const body = await response.json().catch(() => ({}));
  return new ApiError(body.error?.message ?? `The server answered ${response.status}.`,
    response.status);
}

async function call(path, body, signal) {
  const headers = {};
  if (key) headers["Authorization"] = `Bearer ${key}`;
  if (body) headers["Content-Type"] = "application/json";
  const method = body ? "POST" : "GET";
  const response = await fetch(path, {method, headers, signal, body: body && JSON.stringify(body)})
    .catch((error) => {
      throw isAbort(error) ? error : new ApiError("The server cannot be reached.");
    });
  if (!response.ok) throw await errorOf(response);
  return response;
}

export async function getJson(path) {
  return (await call(path)).json();
}

export async function postJson(path, body, signal) {
  return (await call(path, body, signal)).json();
}

// The data of each server-sent event, as text.
async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      if (part.startsWith("data: ")) yield part.slice("data: ".length);
    }
  }
}

// The objects of a stream; one that ends early is an error.
export async function* stream(path, body, signal) {
  for await (const data of eventsOf(await call(path, body, signal))) {
    if (data === "[DONE]") return;
    const event = JSON.parse(data);
    if (event.error) throw new ApiError(event.error.message);
    yield event;
  }
  throw new ApiError("The connection ended before the answer did.");
}
