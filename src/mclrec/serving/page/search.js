/** A field that finds items, after the combobox pattern of the ARIA practices: the list opens below, focus stays. */

import { announce, byId, counted, make, nameOf, whole } from "./dom.js";

const PAUSE = 120; // milliseconds without a key before the service is asked
const LIMIT = 8;

export class Search {
  #input = byId("search");
  #panel = byId("search-panel");
  #list = byId("search-list");
  #note = byId("search-note");
  #find;
  #pick;
  #items = [];
  #active = -1;
  #timer;
  #asked = new AbortController();

  /** `find(text, limit, signal)` answers as GET /items does; `pick(item)` is told what was chosen. */
  constructor(find, pick) {
    this.#find = find;
    this.#pick = pick;
    this.#input.addEventListener("input", () => this.#later());
    this.#input.addEventListener("keydown", (event) => this.#onKey(event));
    this.#input.addEventListener("click", () => this.#items.length && this.#open());
    this.#input.addEventListener("blur", () => this.#close());
    this.#panel.addEventListener("pointerdown", (event) => event.preventDefault()); // focus stays in the field
  }

  focus() {
    this.#input.focus();
    this.#input.select();
  }

  #later() {
    clearTimeout(this.#timer);
    this.#asked.abort();
    this.#items = []; // what is shown answers an older question: Enter must not take from it
    if (this.#input.value.trim() === "") return this.#close();
    this.#timer = setTimeout(() => this.#look(), PAUSE);
  }

  /** Ask now. Resolves when the list shows the answer. */
  #look() {
    clearTimeout(this.#timer);
    this.#asked.abort();
    this.#asked = new AbortController();
    return this.#show(this.#input.value.trim(), this.#asked.signal);
  }

  async #show(text, signal) {
    try {
      const { items, total } = await this.#find(text, LIMIT, signal);
      this.#items = items.map((found) => found.item);
      this.#list.replaceChildren(...items.map((found, place) => this.#option(found, place, text)));
      this.#note.textContent = noteOn(items.length, total, text);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#items = [];
      this.#list.replaceChildren();
      this.#note.textContent = error.message;
    }
    announce(this.#note.textContent || `${counted(this.#items.length, "item")} found`);
    this.#open();
  }

  #option({ item, count }, place, text) {
    const name = nameOf(item);
    name.replaceChildren(...marked(name.textContent, text));
    const often = make("span", { class: "number", title: "times in the training data" }, whole(count));
    const onclick = () => this.#choose(place);
    return make("li", { role: "option", id: `match-${place}`, "aria-selected": "false", onclick }, name, often);
  }

  #open() {
    this.#panel.hidden = false;
    this.#input.setAttribute("aria-expanded", "true");
    this.#select(this.#items.length ? 0 : -1);
  }

  #close() {
    this.#panel.hidden = true;
    this.#input.setAttribute("aria-expanded", "false");
    this.#select(-1);
  }

  #select(place) {
    this.#list.children[this.#active]?.setAttribute("aria-selected", "false");
    this.#active = place;
    const option = this.#list.children[place];
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView({ block: "nearest" });
    if (option) this.#input.setAttribute("aria-activedescendant", option.id);
    else this.#input.removeAttribute("aria-activedescendant");
  }

  #choose(place) {
    const item = this.#items[place];
    this.#input.value = "";
    this.#items = [];
    this.#close();
    this.#pick(item);
  }

  async #onKey(event) {
    if (event.isComposing || event.altKey || event.ctrlKey || event.metaKey) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      if (this.#panel.hidden) await (this.#items.length ? this.#open() : this.#look());
      else if (this.#items.length) this.#select((this.#active + step + this.#items.length) % this.#items.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      await this.#enter();
    } else if (event.key === "Escape") {
      if (this.#panel.hidden) this.#input.value = "";
      this.#close();
    }
  }

  /** Take the marked item; the best match of what was typed, where its answer is still under way. */
  async #enter() {
    if (this.#items.length === 0 && this.#input.value.trim() !== "") await this.#look();
    if (!this.#panel.hidden && this.#active >= 0) this.#choose(this.#active);
  }
}

function noteOn(shown, total, text) {
  if (shown === 0) return `Nothing is called “${text}”.`;
  return total > shown ? `${whole(shown)} of ${whole(total)}; go on typing to narrow them.` : "";
}

const fold = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

/** A name in pieces, those that were searched for in <mark>; case and accents do not matter. */
function marked(name, text) {
  const letters = [...name];
  const places = letters.flatMap((letter, place) => Array(fold(letter).length).fill(place));
  const folded = letters.map(fold).join("");
  const hit = new Set();
  for (const word of fold(text).split(/\s+/).filter(Boolean)) {
    const from = folded.indexOf(word);
    for (let at = from; from >= 0 && at < from + word.length; at++) hit.add(places[at]);
  }
  const pieces = [];
  letters.forEach((letter, place) => {
    const last = pieces.at(-1);
    if (last?.hit === hit.has(place)) last.text += letter;
    else pieces.push({ hit: hit.has(place), text: letter });
  });
  return pieces.map((piece) => (piece.hit ? make("mark", {}, piece.text) : piece.text));
}
