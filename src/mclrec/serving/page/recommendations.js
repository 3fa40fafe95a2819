/** The recommendations as a list: kept in place while it changes, explained on demand, compared with another. */

import { button, byId, counted, decimal, icon, make, nameOf, reconcile, titleOf, whole } from "./dom.js";

const SHOWN = 6; // history items in an explanation
const SHORTEST = 0.01; // of a bar, so that it is still seen
const LEAST = 0.005; // of a difference: what rounds to zero is none

export class Recommendations {
  #list = byId("recommendations");
  #actions;
  #answer = { items: [], popular: true };
  #open = null; // the item whose explanation is open
  #asked = new AbortController();
  #counts = false;

  /**
   * `actions`: `add(item)`, `similar(item)`, `known()`, how many items of the history the model knows, and
   * `explain(item, signal)`, which answers as POST /explain does.
   */
  constructor(actions) {
    this.#actions = actions;
  }

  get answer() {
    return this.#answer;
  }

  /** Whether the scores are counts, and not logits. */
  set counts(counts) {
    if (counts === this.#counts) return;
    this.#counts = counts;
    if (!this.#list.classList.contains("comparing")) this.restore();
  }

  set busy(busy) {
    this.#list.setAttribute("aria-busy", String(busy));
  }

  /** Show an answer of POST /recommend. */
  show(answer) {
    this.#answer = answer;
    if (answer.popular || !answer.items.some(({ item }) => item === this.#open)) this.#open = null;
    this.#render(answer, answer.items);
    this.#explain();
  }

  /** Show another answer beside the one that stands: how each item has moved, and which have gone. */
  compare(other) {
    this.#asked.abort();
    this.#render(other, changes(this.#answer.items, other.items));
  }

  /** Back from a comparison. */
  restore() {
    this.#render(this.#answer, this.#answer.items);
    this.#explain();
  }

  #render(answer, models) {
    const scores = answer.items.map(({ score }) => score);
    const best = Math.max(...scores);
    const counts = answer.popular || this.#counts;
    const share = (score) => (counts ? (best > 0 ? score / best : 1) : Math.exp(score - best)); // beside the first
    const digits = best - Math.min(...scores) < 0.5 ? 3 : 2;
    this.#list.classList.toggle("popular", answer.popular);
    this.#list.classList.toggle("comparing", models !== this.#answer.items);
    const shown = models.map((model) => ({
      ...model,
      share: Math.max(share(model.score), SHORTEST),
      text: answer.popular ? whole(model.score) : decimal(model.score, digits),
    }));
    reconcile(this.#list, shown, ({ item }) => item, ({ item }) => this.#row(item));
  }

  #row(item) {
    const rank = make("span");
    const place = make("span", { class: "place" }, rank, icon("plus"));
    const score = make("span", { class: "number" });
    const bar = make("span", { class: "bar", "aria-hidden": "true" });
    const mark = make("span", { class: "move", hidden: true });
    const add = make("button", { type: "button", class: "body", title: "Add to the history" });
    add.append(make("span", { class: "hidden" }, "Add "), nameOf(item), score, bar);
    add.addEventListener("click", () => this.#add(item));
    const panel = make("div", { class: "because", id: panelOf(item), hidden: true });
    const whose = make("span", { class: "hidden" }, ` ${titleOf(item)}`);
    const attributes = { type: "button", class: "plain why", "aria-controls": panel.id };
    const why = make("button", attributes, "Why", whose);
    why.addEventListener("click", () => this.#toggle(item));
    const row = make("li", { class: "row" }, make("div", { class: "line" }, place, add, mark, why), panel);
    row.update = (model, at) => {
      row.classList.toggle("gone", Boolean(model.gone));
      rank.textContent = model.gone ? "" : at + 1;
      score.textContent = model.gone ? "" : model.text;
      bar.style.setProperty("--share", model.gone ? 0 : model.share);
      mark.hidden = model.moved === undefined;
      mark.textContent = model.moved ?? "";
      mark.dataset.way = model.way ?? "";
      panel.hidden = item !== this.#open || model.moved !== undefined;
      why.setAttribute("aria-expanded", String(!panel.hidden));
    };
    return row;
  }

  /** The row goes as the item joins the history; who added it by key goes on where they were. */
  #add(item) {
    const place = this.#answer.items.findIndex((other) => other.item === item);
    this.#actions.add(item, () => {
      if (document.activeElement !== document.body) return;
      const rows = this.#list.children;
      const next = rows[Math.min(Math.max(place, 0), rows.length - 1)];
      next?.querySelector(".body").focus({ preventScroll: true });
    });
  }

  #toggle(item) {
    this.#open = this.#open === item ? null : item;
    this.#render(this.#answer, this.#answer.items);
    this.#explain();
  }

  /** Fill the open panel. What it showed stays, dimmed, until the answer is there. */
  async #explain() {
    this.#asked.abort();
    if (this.#open === null) return;
    this.#asked = new AbortController();
    const panel = byId(panelOf(this.#open));
    const item = this.#open;
    panel.setAttribute("aria-busy", "true");
    try {
      const answer = await this.#actions.explain(item, this.#asked.signal);
      const similar = button("plain", "Similar items", () => this.#actions.similar(item));
      panel.replaceChildren(...explanation(answer.items[0].because, this.#actions.known()), similar);
    } catch (error) {
      if (error.name === "AbortError") return;
      panel.replaceChildren(make("p", { class: "aside" }, error.message));
    }
    panel.setAttribute("aria-busy", "false");
  }
}

const panelOf = (item) => `because-${encodeURIComponent(item)}`;

/** Items of `after`, then those of `before` that have gone, each with what became of it. */
function changes(before, after) {
  const places = new Map(before.map(({ item }, place) => [item, place]));
  const stays = new Set(after.map(({ item }) => item));
  const moved = after.map((model, place) => ({ ...model, ...change(places.get(model.item), place) }));
  const gone = before.filter(({ item }) => !stays.has(item));
  return [...moved, ...gone.map((model) => ({ ...model, gone: true, moved: "out", way: "down" }))];
}

function change(from, to) {
  if (from === undefined) return { moved: "new", way: "up" };
  if (from === to) return { moved: "", way: "" };
  return from > to ? { moved: `↑ ${from - to}`, way: "up" } : { moved: `↓ ${to - from}`, way: "down" };
}

/** The history items that moved a score most: those that speak for the item, and those that speak against it. */
function explanation(because, known) {
  if (because.length === 0) {
    return [note("The model knows a single item of the history: there is nothing to compare the list with.")];
  }
  const all = because.toSorted((a, b) => Math.abs(b.difference) - Math.abs(a.difference));
  const shown = all.slice(0, SHOWN).filter(({ difference }) => Math.abs(difference) >= LEAST);
  const longest = Math.max(...shown.map(({ difference }) => Math.abs(difference)));
  const rest = all.length - shown.length;
  const words = [
    shown.length ? "How much the score falls (+) or rises (\u2212) without that one item, all others kept." : "",
    shown.length && rest ? `${counted(rest, "more item")} moved it less.` : "",
    shown.length ? "" : "No single item of the history moves this score.",
    known > all.length ? `The model reads the newest ${counted(all.length, "item")}; older ones have no say.` : "",
  ];
  return [
    ...side("For", shown.filter(({ difference }) => difference > 0), longest),
    ...side("Against", shown.filter(({ difference }) => difference < 0), longest),
    note(words.filter(Boolean).join(" ")),
  ];
}

const note = (text) => make("p", { class: "aside" }, text);

function side(title, reasons, longest) {
  if (reasons.length === 0) return [];
  const rows = reasons.map(({ position, item, difference }) => {
    const bar = make("span", { class: "diverging", "aria-hidden": "true" });
    bar.style.setProperty("--share", Math.abs(difference) / longest);
    bar.dataset.way = difference < 0 ? "down" : "up";
    const place = make("span", { class: "place" }, String(position + 1));
    const number = make("span", { class: "number" }, decimal(difference, 2, true));
    return make("li", {}, place, nameOf(item), bar, number);
  });
  return [make("h3", {}, title), make("ol", { class: "differences" }, ...rows)];
}
