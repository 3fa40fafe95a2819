/** How the list would be without one item of the history: for a look, or until it is decided. */

import { announce, button, byId, make, nameOf } from "./dom.js";

const PAUSE = 90; // milliseconds a pointer has to rest on it

export class Preview {
  #session;
  #list;
  #recommend;
  #bar = byId("preview");
  #timer;
  #asked = new AbortController();
  #entry = null;
  #pinned = null; // the button that holds it

  /** `recommend(history, signal, exclude)` answers as POST /recommend does. */
  constructor(session, list, recommend) {
    this.#session = session;
    this.#list = list;
    this.#recommend = recommend;
    session.addEventListener("change", () => this.end());
  }

  get shown() {
    return this.#entry !== null;
  }

  /** Show it after a moment, unless one is held. */
  look(entry) {
    if (this.#pinned !== null) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#show(entry), PAUSE);
  }

  leave() {
    if (this.#pinned === null) this.end();
  }

  /** Hold it; let go where it is held already. */
  pin(entry, holder) {
    const again = this.#pinned === holder;
    this.end();
    if (again) return;
    this.#pinned = holder;
    holder.setAttribute("aria-pressed", "true");
    this.#show(entry);
  }

  end() {
    clearTimeout(this.#timer);
    this.#asked.abort();
    this.#pinned?.setAttribute("aria-pressed", "false");
    this.#pinned = null;
    if (!this.shown) return;
    this.#entry = null;
    this.#bar.hidden = true;
    this.#list.restore();
  }

  async #show(entry) {
    this.#asked.abort();
    this.#asked = new AbortController();
    const history = this.#session.entries.filter((other) => other !== entry).map((other) => other.item);
    try {
      // Who asks how it would be without an item does not want to be told to get it.
      const answer = await this.#recommend(history, this.#asked.signal, [entry.item]);
      this.#entry = entry;
      this.#list.compare(answer);
      const left = answer.popular ? "nothing that the model knows is left, so this is what is popular; " : "";
      this.#tell(entry, left + summary(this.#list.answer.items, answer.items));
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#entry = entry;
      this.#tell(entry, error.message);
    }
  }

  #tell(entry, text) {
    const words = make("p", {}, "Without ", nameOf(entry.item, "strong"), `: ${text}`);
    const remove = button("solid", "Remove it", () => this.#remove(entry));
    const keep = button("plain", "Keep it", () => this.#keep());
    this.#bar.replaceChildren(words, ...(this.#pinned === null ? [] : [remove, keep]));
    this.#bar.hidden = false;
    if (this.#pinned !== null) this.#bar.scrollIntoView({ block: "nearest" });
    if (this.#pinned?.matches(":focus-visible")) remove.focus();
    announce(words.textContent);
  }

  #remove(entry) {
    this.#session.remove(entry.key);
    byId("recommendations-title").focus({ preventScroll: true });
  }

  #keep() {
    const row = this.#pinned.closest(".row");
    this.end();
    row.querySelector(".body").focus({ preventScroll: true });
  }
}

/** "2 new, 3 move up, 1 moves down, 4 stay." */
function summary(before, after) {
  const places = new Map(before.map(({ item }, place) => [item, place]));
  const counts = { new: 0, up: 0, down: 0, stay: 0 };
  after.forEach(({ item }, place) => {
    const from = places.get(item);
    if (from === undefined) counts.new += 1;
    else counts[from > place ? "up" : from < place ? "down" : "stay"] += 1;
  });
  if (counts.stay === after.length && before.length === after.length) return "the list stays as it is.";
  const s = (count) => (count === 1 ? "s" : "");
  const parts = [
    counts.new && `${counts.new} new`,
    counts.up && `${counts.up} move${s(counts.up)} up`,
    counts.down && `${counts.down} move${s(counts.down)} down`,
    counts.stay && `${counts.stay} stay${s(counts.stay)}`,
  ];
  return `${parts.filter(Boolean).join(", ")}.`;
}
