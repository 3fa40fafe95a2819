/** The service behind this page: questions, answers, and errors in words for people. */

import { remember } from "./dom.js";

const KEY = "mclrec-api-key";

/** What went wrong: `message` can be shown, `status` is 0 where nothing answered, `wait` are seconds or null. */
export class ServiceError extends Error {
  constructor(message, status, wait = null) {
    super(message);
    this.status = status;
    this.wait = wait;
  }
}

/** Asks the service that has sent this page; `askKey(refused)` gets an API key where it wants one. */
export class Service {
  #askKey;

  constructor(askKey) {
    this.#askKey = askKey;
  }

  /** Whether answers needed a key. */
  get keyed() {
    return sessionStorage.getItem(KEY) !== null;
  }

  /** `question`: history, exclude, k, include_seen. */
  recommend = (question, signal) => this.#ask("recommend", { signal, body: question });

  explain = (history, item, signal) => this.#ask("explain", { signal, body: { history, items: [item] } });

  items = (text, limit, signal) => this.#ask(`items?${new URLSearchParams({ q: text, limit })}`, { signal });

  similar = (item, k) => this.#ask(`similar/${encodeURIComponent(item)}?k=${k}`);

  card = () => this.#ask("model");

  async #ask(path, { body, signal } = {}) {
    const used = sessionStorage.getItem(KEY);
    const response = await send(path, body, signal, used);
    if (response.status !== 401) return read(response);
    if (sessionStorage.getItem(KEY) === used) sessionStorage.setItem(KEY, await this.#askKey(used !== null));
    signal?.throwIfAborted();
    return this.#ask(path, { body, signal });
  }
}

async function send(path, body, signal, key) {
  const headers = key === null ? {} : { Authorization: `Bearer ${key}` };
  const options = { headers, signal };
  if (body !== undefined) {
    options.method = "POST";
    options.body = JSON.stringify(body);
    headers["Content-Type"] = "application/json";
  }
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("The service does not answer. It may be stopped, or on its way up again.", 0);
  }
}

async function read(response) {
  const answer = await response.text().then((text) => JSON.parse(text, idsAsText)).catch(() => null);
  if (response.ok && answer !== null) {
    remember(answer.titles);
    return answer;
  }
  const wait = Number.parseInt(response.headers.get("Retry-After") ?? "", 10);
  const words = inWords(response.status, answer?.detail);
  throw new ServiceError(words, response.status, Number.isNaN(wait) ? null : wait);
}

/**
 * Ids are text here, whatever the log has: 7 and "7" are one item. A number is taken as it is written, for beyond 2^53
 * JavaScript would round it to another item's.
 */
function idsAsText(key, value, { source } = {}) {
  if (key === "item") return typeof value === "number" ? (source ?? String(value)) : value;
  return key === "unknown" && Array.isArray(value) ? value.map(String) : value; // a title's key may be any id
}

/** A status and the service's own words, which are one line or the framework's list of faults. */
function inWords(status, detail) {
  const own = Array.isArray(detail) ? detail.map((fault) => fault.msg).join("; ") : detail;
  if (status === 429 || status === 503) return "The service has its hands full.";
  if (status === 504) return "The service took too long over this.";
  return own ? `The service says: ${own}` : `The service answered with status ${status}.`;
}
