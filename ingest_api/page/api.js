// Asks the API. The token lives in this module's memory alone: a reload forgets it.

let token = null;
let ended = null; // what is called when the API no longer takes the token
let expiry = null;

export let user = null; // {email, roles}

export const SILENT = "The API does not answer.";

// An answer that is no success, or none at all: `status` is then 0.
export class Problem extends Error {
  constructor(message, { status = 0, fields = {}, requestId = "", retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { status, fields, requestId, retryAfter });
  }
}

export const has = (role) => user !== null && user.roles.includes(role);

export async function logIn(email, password, onEnd) {
  const request = { method: "POST", body: { email, password } };
  const answer = await send("api/login_check", request, (response) => response.json());
  const claims = JSON.parse(new TextDecoder().decode(decoded(answer.token.split(".")[1])));
  token = answer.token;
  user = { email: claims.sub, roles: claims.roles };
  ended = onEnd;
  // By the token's own length of life: the clock of this machine may be wrong.
  expiry = setTimeout(() => end("Your token has expired. Please log in again."), (claims.exp - claims.iat) * 1000);
}

export function logOut() {
  clearTimeout(expiry);
  token = user = ended = null;
}

// Keeps integers that JavaScript's numbers cannot hold, where the browser can: additionalData may have any of 64 bits.
export function parseJson(text) {
  return JSON.parse(text, (name, value, context) =>
    JSON.rawJSON && Number.isInteger(value) && !Number.isSafeInteger(value) ? JSON.rawJSON(context.source) : value,
  );
}

// Returns {data, status, requestId, date}, the last by the server's clock.
// Raises a Problem, or the AbortError of `signal`.
export function ask(path, options = {}) {
  return send(path, options, async (response) => {
    const { data } = parseJson(await response.text());
    const { status, headers } = response;
    const date = Date.parse(headers.get("Date")) || Date.now();
    return { data, status, date, requestId: headers.get("X-Request-Id") ?? "" };
  });
}

// Returns the response itself, whose body may be long: the timeout is for its head.
export function open(path, options) {
  return send(path, options, (response) => response);
}

// Seconds until it makes sense to ask again, after so many failures in a row.
export function pause(problem, failures) {
  return problem.retryAfter ?? Math.min(2 * 1.5 ** (failures - 1), 10);
}

async function send(path, { method = "GET", query = {}, body, headers = {}, signal, timeout = 20 }, read) {
  const url = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(query)) {
    if (value !== "" && value !== null && value !== undefined) url.searchParams.set(name, value);
  }
  const sent = { Accept: "application/json, */*;q=0.1", ...headers };
  if (token) sent.Authorization = `Bearer ${token}`;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), timeout * 1000);
  try {
    const response = await fetch(url, {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, late.signal]) : late.signal,
      cache: "no-store",
      credentials: "same-origin",
    });
    if (!response.ok) throw await refused(response);
    return await read(response);
  } catch (error) {
    if (error instanceof Problem || signal?.aborted) throw error;
    if (error instanceof SyntaxError) throw new Problem("The answer is not JSON.");
    throw new Problem(late.signal.aborted ? `The API has not answered for ${timeout} s.` : SILENT);
  } finally {
    clearTimeout(timer);
  }
}

async function refused(response) {
  const answer = await response.json().catch(() => null);
  const problem = new Problem(answer?.message ?? (response.statusText || "The answer is not the API's."), {
    status: response.status,
    fields: answer?.errors ?? {},
    requestId: response.headers.get("X-Request-Id") ?? "",
    retryAfter: answer?.retry_after ?? (Number(response.headers.get("Retry-After")) || null),
  });
  // Nothing is asked that the roles do not allow, so a 403 means the token as well.
  if (token && answer && [401, 403].includes(response.status)) end(`${problem.message}. Please log in again.`);
  return problem;
}

function end(message) {
  const call = ended;
  logOut();
  call?.(message);
}

function decoded(base64url) {
  return Uint8Array.from(atob(base64url.replace(/-/g, "+").replace(/_/g, "/")), (each) => each.charCodeAt(0));
}
