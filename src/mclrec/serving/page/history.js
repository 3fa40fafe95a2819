/** The history as a list: dragged or moved by keys, looked at without one of its items, shortened. */

import { announce, button, byId, icon, label, make, nameOf, reconcile, titleOf } from "./dom.js";

const EDGE = 56; // pixels from the window's edge in which a drag scrolls

export class History {
  #session;
  #preview;
  #similar;
  #list = byId("history");
  #unknown = new Set();
  #dropping = false; // what was dragged is where it belongs: nothing need glide

  /** `similar(item)` shows what is like an item. */
  constructor(session, preview, similar) {
    this.#session = session;
    this.#preview = preview;
    this.#similar = similar;
  }

  /** Items that the model does not know, as the last answer had them. */
  set unknown(items) {
    this.#unknown = new Set(items);
    this.render();
  }

  get unknown() {
    return this.#unknown;
  }

  render() {
    const { entries } = this.#session;
    const newest = this.#list.lastElementChild?.dataset.key;
    reconcile(this.#list, entries, (entry) => entry.key, (entry) => this.#row(entry), this.#dropping);
    if (entries.length > 0 && entries.at(-1).key !== newest) this.#list.scrollTop = this.#list.scrollHeight;
    byId("history-empty").hidden = entries.length > 0;
    byId("history-note").textContent = entries.length > 1 ? "oldest first" : "";
    byId("undo-button").disabled = !this.#session.undoable;
    byId("clear-button").disabled = entries.length === 0;
  }

  /** Keep the focus in the list after the entry at `place` has gone; in the search where none is left. */
  #focusNear(place) {
    const rows = this.#list.children;
    (rows[Math.min(place, rows.length - 1)]?.querySelector(".body") ?? byId("search")).focus();
  }

  #row(entry) {
    const text = entry.item;
    const place = make("span", { class: "place" });
    const grip = button("grip", "Move", () => {}, "grip");
    grip.setAttribute("aria-describedby", "row-keys");
    grip.addEventListener("pointerdown", (event) => this.#drag(event, entry));
    const actions = make("div", { class: "actions", id: `${entry.key}-actions`, hidden: true });
    const attributes = { type: "button", class: "body", "aria-expanded": "false", "aria-controls": actions.id };
    const strange = make("span", { class: "tag", hidden: true }, "not known to this model");
    let name = nameOf(entry.item);
    const words = make("span", { class: "words" }, name, strange);
    const body = make("button", attributes, words, icon("chevron"));
    body.addEventListener("click", () => {
      actions.hidden = !actions.hidden;
      body.setAttribute("aria-expanded", String(!actions.hidden));
    });
    const without = this.#withoutButton(entry);
    const remove = button("icon", "Remove", () => this.#remove(entry), "close");
    const up = button("plain", "Move up", () => this.#step(entry, -1));
    const down = button("plain", "Move down", () => this.#step(entry, 1));
    const similar = button("plain", "Similar items", () => this.#similar(entry.item));
    actions.append(up, down, similar);
    const line = make("div", { class: "line" }, grip, place, body, without, remove);
    const row = make("li", { class: "row" }, line, actions);
    row.addEventListener("keydown", (event) => this.#onKey(event, entry));
    row.update = (_, at) => {
      place.textContent = at + 1;
      const title = titleOf(text);
      if (name.textContent !== title) name.replaceWith((name = nameOf(text))); // known since the last answer
      label(grip, `Move ${title}`);
      label(without, `The list without ${title}`);
      label(remove, `Remove ${title}`);
      row.classList.toggle("unknown", this.#unknown.has(text));
      strange.hidden = !this.#unknown.has(text);
      similar.disabled = without.disabled = this.#unknown.has(text);
      up.disabled = at === 0;
      down.disabled = at === this.#session.entries.length - 1;
    };
    return row;
  }

  /** Shows the list without the entry while pointed at or focused; a click lets it stay until it is decided. */
  #withoutButton(entry) {
    const shown = [make("span", {}, "Without it"), icon("without")];
    const without = make("button", { type: "button", class: "plain without" }, ...shown);
    const look = (wanted) => wanted && this.#preview.look(entry);
    without.addEventListener("pointerenter", (event) => look(event.pointerType === "mouse"));
    without.addEventListener("pointerleave", () => this.#preview.leave());
    without.addEventListener("focus", () => look(without.matches(":focus-visible")));
    without.addEventListener("blur", () => this.#preview.leave());
    without.addEventListener("click", () => this.#preview.pin(entry, without));
    return without;
  }

  #onKey(event, entry) {
    const onGrip = event.target.classList.contains("grip");
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (step !== undefined && (event.altKey || onGrip)) {
      event.preventDefault();
      this.#step(entry, step);
    } else if (event.key === "Delete") {
      event.preventDefault();
      this.#remove(entry);
    }
  }

  #step(entry, step) {
    const place = this.#session.entries.indexOf(entry) + step;
    this.#session.move(entry.key, place);
    announce(`${titleOf(entry.item)} is at place ${this.#session.entries.indexOf(entry) + 1}`);
  }

  #remove(entry) {
    const place = this.#session.entries.indexOf(entry);
    const inside = this.#list.contains(document.activeElement);
    this.#session.remove(entry.key);
    if (inside) this.#focusNear(place);
  }

  /** Nothing moves in the document while a row is dragged: rows are shifted, and the order is made at the end. */
  #drag(down, entry) {
    if (down.button !== 0 || this.#session.entries.length < 2) return;
    const grip = down.currentTarget;
    const drag = new Drag([...this.#list.children], this.#session.entries.indexOf(entry), down.pageY);
    const done = new AbortController();
    const end = (place) => {
      done.abort();
      drag.end();
      this.#dropping = true;
      this.#session.move(entry.key, place);
      this.#dropping = false;
    };
    const listen = (target, name, react) => target.addEventListener(name, react, { signal: done.signal });
    grip.setPointerCapture(down.pointerId);
    listen(grip, "pointermove", (event) => {
      if (event.clientY < EDGE) scrollBy(0, -EDGE / 4);
      if (event.clientY > innerHeight - EDGE) scrollBy(0, EDGE / 4);
      drag.to(event.pageY);
    });
    listen(grip, "pointerup", () => end(drag.place));
    listen(grip, "pointercancel", () => end(drag.from));
    listen(document, "keydown", (event) => event.key === "Escape" && end(drag.from));
    listen(this.#session, "change", () => end(drag.from));
  }
}

/** Rows while one of them is dragged: where it would land, and the others making room. */
class Drag {
  #rows;
  #start;
  #middles;
  #room;

  constructor(rows, from, start) {
    const boxes = rows.map((row) => row.getBoundingClientRect());
    this.from = this.place = from;
    this.#rows = rows;
    this.#start = start;
    this.#middles = boxes.map((box) => box.top + box.height / 2);
    this.#room = boxes[from].height + boxes[1].top - boxes[0].bottom;
    rows[from].classList.add("dragged");
  }

  to(height) {
    const way = height - this.#start;
    const middle = this.#middles[this.from] + way;
    this.place = this.#middles.filter((other, at) => at !== this.from && other < middle).length;
    this.#rows.forEach((row, at) => {
      const up = at > this.from && at <= this.place;
      const down = at < this.from && at >= this.place;
      const shift = at === this.from ? way : up ? -this.#room : down ? this.#room : 0;
      row.style.translate = `0 ${shift}px`;
    });
  }

  end() {
    this.#rows[this.from].classList.remove("dragged");
    for (const row of this.#rows) row.style.translate = "";
  }
}
