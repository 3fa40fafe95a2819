/** What opens above the page: similar items, the model's card, the question for an API key. */

import { byId, button, counted, decimal, make, nameOf, whole } from "./dom.js";
import { ServiceError } from "./service.js";

const SIMILAR = 10;

/** Open a dialog and return it. Escape, its button and a click beside it close it; then it is gone. */
function sheet(title, ...content) {
  const heading = make("h2", { id: "sheet-title" }, title);
  const dialog = make("dialog", { "aria-labelledby": "sheet-title", closedby: "any" });
  const close = button("icon", "Close", () => dialog.close(), "close");
  dialog.append(make("div", { class: "heading" }, heading, close), ...content);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** The items whose vectors are nearest to that of one; `add(item)` is told which was chosen. */
export async function showSimilar(service, item, add) {
  const body = make("div", { "aria-busy": "true" });
  const dialog = sheet("Similar items", make("p", { class: "aside" }, "to ", nameOf(item, "strong")), body);
  const choose = (other) => {
    dialog.close();
    add(other);
  };
  try {
    const { items } = await service.similar(item, SIMILAR);
    body.append(make("ol", { class: "rows" }, ...items.map((other) => similarRow(other, choose))));
    body.append(make("p", { class: "aside" }, "By the cosine of their vectors. A click adds one to the history."));
  } catch (error) {
    body.append(make("p", {}, error.message));
  }
  body.setAttribute("aria-busy", "false");
}

function similarRow({ item, score }, choose) {
  const bar = make("span", { class: "bar", "aria-hidden": "true" });
  bar.style.setProperty("--share", Math.max(score, 0));
  const body = make("button", { type: "button", class: "body", onclick: () => choose(item) });
  body.append(make("span", { class: "hidden" }, "Add "), nameOf(item));
  body.append(make("span", { class: "number" }, decimal(score, 2)), bar);
  return make("li", { class: "row" }, make("div", { class: "line" }, body));
}

/** What the model is worth and when it was trained, in words; then, folded, all that the card says. */
export function showCard(card) {
  const { config = {}, protocol = {}, metrics = {}, trained: _, targets: __, epochs: ___, ...more } = card;
  const rest = { ...more, users: card.users || null, protocol };
  const body = make("div", { class: "card" }, make("p", {}, origin(card)), ...worth(card));
  body.append(folded("All metrics", table(metrics)), folded("Settings", facts(config)), folded("Data and versions", facts(rest)));
  sheet("About the model", body);
}

/** "mclrec, trained on complete-journey (1,509 items) on 26 November 2026." */
function origin(card) {
  const data = dataName(card);
  const when = card.trained ? ` on ${new Date(card.trained).toLocaleDateString("en-GB", { dateStyle: "long", timeZone: "UTC" })}` : "";
  return `${card.name}, trained${data ? ` on ${data}` : ""} (${counted(card.items, "item")})${when}.`;
}

const WITHOUT_SEEN = { F: "Without items of the history, as lists are given here", U: "With items of the history among them" };

/** One sentence a protocol: the share of held-out items that were found, beside what chance would find. */
function worth(card) {
  const labels = ["F", "U"].filter((label) => card.metrics?.[label]);
  if (labels.length === 0) return [make("p", {}, "It was not measured on a test, so nobody knows what it is worth.")];
  return labels.map((label) => {
    const cuts = Object.keys(card.metrics[label]).filter((name) => name.startsWith("HR@")).map((name) => Number(name.slice(3)));
    const shown = cuts.includes(10) ? [10, 20].filter((k) => cuts.includes(k)) : cuts.slice(-1);
    const found = shown.map((k) => `${percent(card.metrics[label][`HR@${k}`])} among the first ${k}`).join(", ");
    const chance = shown.map((k) => percent(Math.min(k / card.items, 1))).join(" and ");
    const asked = card.targets?.[label] ? `the next items of ${whole(card.targets[label])} test users` : "the test items";
    return make("p", {}, `${WITHOUT_SEEN[label]} (${label}): of ${asked}, it had ${found}. Chance would have ${chance}.`);
  });
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function folded(title, content) {
  return make("details", {}, make("summary", {}, title), content);
}

/** Metrics by protocol. */
function table(metrics) {
  const labels = Object.keys(metrics);
  const names = [...new Set(labels.flatMap((label) => Object.keys(metrics[label])))];
  const cell = (value) => make("td", {}, value === undefined ? "" : value.toFixed(4));
  const rows = names.map((name) => make("tr", {}, make("th", { scope: "row" }, name), ...labels.map((label) => cell(metrics[label][name]))));
  const head = make("tr", {}, make("th", { scope: "col" }, "metric"), ...labels.map((label) => make("th", { scope: "col" }, label)));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
}

function facts(object) {
  const list = make("dl");
  for (const [key, value] of Object.entries(object)) {
    if (value === null || value === "") continue;
    const nested = typeof value === "object" && !Array.isArray(value);
    if (nested && Object.keys(value).length === 0) continue;
    const term = make("dt", {}, key.replaceAll("_", " "));
    const fact = make("dd", {}, nested ? facts(value) : inWords(value));
    list.append(make("div", { class: nested ? "nested" : "fact" }, term, fact));
  }
  return list;
}

function inWords(value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map(inWords).join(", ");
  if (typeof value !== "number") return String(value);
  return Number.isInteger(value) ? whole(value) : String(Number(value.toPrecision(4)));
}

let asked = null;

/**
 * Ask for an API key, once for all who wait for it.
 *
 * @throws ServiceError where none is given
 */
export function askKey(refused) {
  asked ??= keyFrom(refused).finally(() => (asked = null));
  return asked;
}

function keyFrom(refused) {
  const why = refused ? "The service does not take this key." : "The service answers those who have a key.";
  const field = make("input", { type: "password", id: "key-field", autocomplete: "off", required: true, pattern: "[!-~]+" });
  const label = make("label", { for: "key-field" }, "API key");
  const use = make("button", { class: "solid" }, "Use it");
  const form = make("form", { method: "dialog", class: "key" }, label, field, use);
  const note = make("p", { class: "aside" }, "It stays in this tab alone, and is forgotten when that closes.");
  const dialog = sheet("API key", make("p", {}, why), form, note);
  field.focus();
  return new Promise((resolve, reject) => {
    form.addEventListener("submit", () => resolve(field.value.trim()));
    dialog.addEventListener("close", () => reject(new ServiceError("The service wants an API key.", 401)));
  });
}

const dataName = (card) => (typeof card.data === "string" ? card.data : (card.data?.name ?? null));

/** "sasrec on beauty", for the line beside the page's name. */
export function cardLine(card) {
  const data = dataName(card);
  byId("model-line").textContent = [card.name, data && `on ${data}`].filter(Boolean).join(" ");
  byId("model-line").title = `${card.version}, ${counted(card.items, "item")}`;
}
