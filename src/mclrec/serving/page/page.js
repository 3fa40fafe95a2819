/** The page: what is chosen in one place, the service in another, and lists that show both. */

import { announce, byId, counted, icon, make, nameOf, titleOf, whole } from "./dom.js";
import { History } from "./history.js";
import { Preview } from "./preview.js";
import { Recommendations } from "./recommendations.js";
import { Search } from "./search.js";
import { Service } from "./service.js";
import { LENGTHS, Session } from "./session.js";
import { askKey, cardLine, showCard, showSimilar } from "./sheets.js";

const CHIPS = 12;
const EXAMPLE = 4; // items
const RETRIES = [2, 4, 8, 15, 30]; // seconds before asking again, where the service does not say

const session = new Session(location.hash);
const service = new Service(askKey);
const similar = (item) => showSimilar(service, item, (other) => session.add(other));
const ask = (history, signal, exclude = []) =>
  service.recommend({ history, exclude, k: session.k, include_seen: session.includeSeen }, signal);
const explain = (item, signal) => service.explain(session.history, item, signal);
const known = () => session.entries.filter(({ item }) => !history.unknown.has(item)).length;
const list = new Recommendations({ add: addFrom, similar, explain, known });
const preview = new Preview(session, list, ask);
const history = new History(session, preview, similar);
const search = new Search(service.items, (item) => session.add(item));

let asked = new AbortController();
let retry = null;
let failures = 0;
let popular = [];
let card = null;

/** Add a recommended item; `then` runs when the list has changed. */
async function addFrom(item, then) {
  session.add(item);
  await current;
  then();
}

let current = Promise.resolve();

/** Ask anew for what stands now. An answer to an older question is not waited for. */
async function refresh() {
  asked.abort();
  asked = new AbortController();
  clearInterval(retry);
  const { signal } = asked;
  list.busy = true;
  try {
    const answer = await ask(session.history, signal);
    list.show(answer);
    history.unknown = answer.unknown;
    list.busy = false;
    tell(answer);
    recover();
  } catch (error) {
    if (error.name !== "AbortError") complain(error); // the list stays dimmed: it answers something else
  }
}

/** Say in words what the list is. */
function tell(answer) {
  const nothing = session.entries.length
    ? "what is popular, for the model knows none of the history"
    : "what is popular, until there is a history";
  const text = known() > 0 ? `after ${read(known())}` : nothing;
  byId("recommendations-note").textContent = answer.items.length ? text : "";
  const first = answer.items[0];
  if (first === undefined) notice("Nothing is left to recommend: the history holds the whole catalogue.");
  else announce(`${counted(answer.items.length, "recommendation")} ${text}. First: ${titleOf(first.item)}`);
}

/** What of the history the model reads, in words. */
const read = (items) =>
  items > card?.reads ? `the newest ${whole(card.reads)} of ${counted(items, "item")}` : counted(items, "item");

function notice(text, ...more) {
  byId("notice").replaceChildren(make("p", {}, text), ...more);
  byId("notice").hidden = false;
}

/** All is well again: what could not be had before is had now. */
function recover() {
  failures = 0;
  if (list.answer.items.length) byId("notice").hidden = true;
  if (card === null) introduce();
}

/** Say what is wrong; ask again by itself where that may help. */
function complain(error) {
  const passing = error.status === 0 || error.status === 429 || error.status >= 502;
  const again = make("button", { type: "button", class: "solid", onclick: start }, "Try again");
  if (!passing) return notice(error.message, ...(error.status === 422 ? [] : [again]));
  let left = Math.max(error.wait ?? RETRIES[Math.min(failures, RETRIES.length - 1)], 1);
  failures += 1;
  const count = make("span", { class: "aside", "aria-hidden": "true" });
  const tick = () => {
    count.textContent = `Trying again in ${left} s`;
    if (left-- <= 0) start();
  };
  notice(error.message, count, again);
  tick();
  retry = setInterval(tick, 1000);
}

function start() {
  current = refresh();
}

/** What does not depend on the history: the model's card and the popular items. */
async function introduce() {
  try {
    const answers = await Promise.all([service.card(), service.items("", CHIPS)]);
    card = answers[0];
    popular = answers[1].items.map(({ item }) => item);
  } catch {
    return; // the recommendations say so, and come here again when they get through
  }
  cardLine(card);
  list.counts = card.epochs === 0;
  byId("api-link").hidden = service.keyed;
  if (list.answer.items.length) tell(list.answer);
  byId("popular").replaceChildren(...popular.map(chip));
  byId("example-button").disabled = popular.length === 0;
  lengths();
}

function chip(item) {
  return make("button", { type: "button", class: "chip", onclick: () => session.add(item) }, nameOf(item));
}

/** Some of the popular items, others at each call. */
function example() {
  const drawn = popular.map((item) => [Math.random(), item]).toSorted(([a], [b]) => a - b);
  session.add(...drawn.slice(0, EXAMPLE).map(([, item]) => item));
}

/** How many to show: no more than there are. */
function lengths() {
  for (const radio of byId("lengths").querySelectorAll("input")) {
    radio.disabled = card !== null && Number(radio.value) > card.items;
    radio.checked = Number(radio.value) === session.k;
  }
}

function choice(k) {
  const radio = make("input", { type: "radio", name: "k", value: k, onchange: () => session.ask({ k }) });
  return make("label", {}, radio, String(k));
}

function changed() {
  window.history.replaceState(null, "", session.address || location.pathname);
  byId("seen-switch").checked = session.includeSeen;
  lengths();
  history.render();
  start();
}

/** Light and dark: the system's, until the button says otherwise. */
function theme() {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const shown = () => root.dataset.theme ?? (dark.matches ? "dark" : "light");
  const show = () => {
    const next = shown() === "dark" ? "light" : "dark";
    byId("theme-button").replaceChildren(icon(next === "dark" ? "moon" : "sun"));
    byId("theme-button").title = `Change to ${next}`;
    byId("theme-button").setAttribute("aria-label", `Change to ${next}`);
  };
  const stored = localStorage.getItem("mclrec-theme");
  if (stored !== null) root.dataset.theme = stored;
  byId("theme-button").addEventListener("click", () => {
    root.dataset.theme = shown() === "dark" ? "light" : "dark";
    localStorage.setItem("mclrec-theme", root.dataset.theme);
    show();
  });
  dark.addEventListener("change", show);
  show();
}

function toRecommendations(event) {
  event.preventDefault(); // the address holds the history
  byId("recommendations-title").focus();
}

function onKey(event) {
  const typing = event.target.matches("input[type=text], input[type=password]");
  if (typing || document.querySelector("dialog[open]")) return;
  if (event.key === "/" && !event.ctrlKey && !event.metaKey) search.focus();
  else if (event.key === "Escape") preview.end();
  else if (event.key === "z" && (event.ctrlKey || event.metaKey)) session.undo();
  else return;
  event.preventDefault();
}

theme();
byId("lengths").append(...LENGTHS.map(choice));
byId("seen-switch").addEventListener("change", (event) => session.ask({ includeSeen: event.target.checked }));
byId("undo-button").addEventListener("click", () => session.undo());
byId("clear-button").addEventListener("click", () => session.clear());
byId("example-button").addEventListener("click", example);
byId("card-button").addEventListener("click", () => card !== null && showCard(card));
byId("skip").addEventListener("click", toRecommendations);
document.addEventListener("keydown", onKey);
window.addEventListener("hashchange", () => session.read(location.hash));
session.addEventListener("change", changed);
changed();
