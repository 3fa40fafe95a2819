/** What somebody has chosen: the history, oldest first, and how to ask. It lives in the address, too. */

export const LENGTHS = [5, 10, 20, 50];

const STEPS = 100; // that can be taken back

/** Tells of each change by an event `change`. An entry is `{ key, item }`: an item may come twice, a key may not. */
export class Session extends EventTarget {
  entries = [];
  k = 10;
  includeSeen = false;
  #past = [];
  #next = 0;

  /** `hash`: what the address says. */
  constructor(hash) {
    super();
    this.entries = this.#understand(hash);
  }

  get history() {
    return this.entries.map((entry) => entry.item);
  }

  get undoable() {
    return this.#past.length > 0;
  }

  add(...items) {
    this.#become([...this.entries, ...items.map((item) => this.#entry(item))]);
  }

  remove(key) {
    this.#become(this.entries.filter((entry) => entry.key !== key));
  }

  clear() {
    this.#become([]);
  }

  /** Put an entry at a place, 0 being the oldest; beyond the ends is at them. */
  move(key, place) {
    const from = this.entries.findIndex((entry) => entry.key === key);
    const to = Math.min(Math.max(place, 0), this.entries.length - 1);
    if (from === to) return;
    const entries = this.entries.toSpliced(from, 1);
    this.#become(entries.toSpliced(to, 0, this.entries[from]));
  }

  undo() {
    if (!this.undoable) return;
    this.entries = this.#past.pop();
    this.#tell();
  }

  ask({ k = this.k, includeSeen = this.includeSeen }) {
    this.k = k;
    this.includeSeen = includeSeen;
    this.#tell();
  }

  /** Take what an address says; nothing happens where it says what is so already. */
  read(hash) {
    if (hash !== this.address) this.#become(this.#understand(hash));
  }

  /** `#item=first&item=second&k=20&seen=1`, without what is as ever. */
  get address() {
    const words = new URLSearchParams(this.history.map((item) => ["item", item]));
    if (this.k !== 10) words.set("k", this.k);
    if (this.includeSeen) words.set("seen", 1);
    return words.size ? `#${words}` : "";
  }

  /** Take over how to ask; the entries of the history are returned. */
  #understand(hash) {
    const words = new URLSearchParams(hash.slice(1));
    const k = Number(words.get("k"));
    this.k = LENGTHS.includes(k) ? k : 10;
    this.includeSeen = words.has("seen");
    return words.getAll("item").map((item) => this.#entry(item));
  }

  #entry(item) {
    return { key: `entry-${this.#next++}`, item };
  }

  #become(entries) {
    this.#past = [...this.#past.slice(1 - STEPS), this.entries];
    this.entries = entries;
    this.#tell();
  }

  #tell() {
    this.dispatchEvent(new Event("change"));
  }
}
