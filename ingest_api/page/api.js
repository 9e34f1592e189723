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
  const response = await send("api/login_check", { method: "POST", body: { email, password } });
  const answer = await response.json();
  const claims = JSON.parse(new TextDecoder().decode(decoded(answer.token.split(".")[1])));
  token = answer.token;
  user = { email: claims.sub, roles: claims.roles };
  ended = onEnd;
  // By the token's own length of life: the clock of this machine may be wrong.
  expiry = setTimeout(() => end("Your hour is over. Please log in again."), (claims.exp - claims.iat) * 1000);
}

export function logOut() {
  clearTimeout(expiry);
  token = user = ended = null;
}

// Returns {data, status, requestId, date}, the last by the server's clock; raises a Problem, or the AbortError of `signal`.
export async function ask(path, options = {}) {
  const response = await send(path, options);
  const answer = await json(response);
  if (answer === null) throw new Problem("The answer is not JSON.", { status: response.status });
  const { status, headers } = response;
  const date = Date.parse(headers.get("Date")) || Date.now();
  return { data: answer.data, status, date, requestId: headers.get("X-Request-Id") ?? "" };
}

// Returns the response itself, whose body may be long: `timeout` is for its head.
export async function open(path, options) {
  return send(path, options);
}

// Seconds until it makes sense to ask again, after so many failures in a row.
export function pause(problem, failures) {
  return problem.retryAfter ?? Math.min(2 * 1.5 ** (failures - 1), 10);
}

async function send(path, { method = "GET", query = {}, body, headers = {}, signal, timeout = 20 } = {}) {
  const url = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(query)) {
    if (value !== "" && value !== null && value !== undefined) url.searchParams.set(name, value);
  }
  const sent = { Accept: "application/json, */*;q=0.1", ...headers };
  if (token) sent.Authorization = `Bearer ${token}`;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), timeout * 1000);
  let response;
  try {
    response = await fetch(url, {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, late.signal]) : late.signal,
      cache: "no-store",
      credentials: "same-origin",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(late.signal.aborted ? `The API has not answered for ${timeout} s.` : SILENT);
  } finally {
    clearTimeout(timer);
  }
  if (!response.ok) throw await refused(response);
  return response;
}

async function refused(response) {
  const answer = await json(response);
  const message = answer?.message ?? (response.statusText || "The answer is not the API's.");
  const problem = new Problem(message, {
    status: response.status,
    fields: answer?.errors ?? {},
    requestId: response.headers.get("X-Request-Id") ?? "",
    retryAfter: answer?.retry_after ?? (Number(response.headers.get("Retry-After")) || null),
  });
  // Nothing is asked that the roles do not allow, so a 403 means the token as well.
  if (token && answer && (response.status === 401 || response.status === 403)) end(`${message}. Please log in again.`);
  return problem;
}

async function json(response) {
  try {
    return await response.json();
  } catch {
    return null;
  }
}

function end(message) {
  const call = ended;
  logOut();
  call?.(message);
}

function decoded(base64url) {
  return Uint8Array.from(atob(base64url.replace(/-/g, "+").replace(/_/g, "/")), (each) => each.charCodeAt(0));
}
