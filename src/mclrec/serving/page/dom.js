/** Elements and lists. Text goes in as text alone, so nothing a catalogue holds is ever read as markup. */

/** The element of an id that index.html is sure to have. */
export const byId = (id) => document.getElementById(id);

/**
 * An element with attributes, listeners (`onclick: f`) and children; null children are left out.
 * An attribute that is true is set without a value, one that is false or null is not set.
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** One of the symbols of index.html. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** A button; `label` is its text, or what a screen reader says where a symbol stands for it. */
export function button(kind, label, onclick, symbol = null) {
  const shown = symbol === null ? [label] : [icon(symbol)];
  const named = symbol === null ? {} : { "aria-label": label, title: label };
  return make("button", { type: "button", class: kind, ...named, onclick }, ...shown);
}

const titles = new Map(); // of items, by id, where the service has any

/** Keep the titles of an answer; without any, all is called by its id. */
export function remember(found) {
  for (const [item, title] of Object.entries(found ?? {})) titles.set(item, title);
}

/** What people call an item. */
export const titleOf = (item) => titles.get(String(item)) ?? String(item);

/** What a symbol does, in words. */
export function label(element, text) {
  element.setAttribute("aria-label", text);
  element.title = text;
}

/** An item as shown: by its title or as the log calls it, set a little smaller where that shouts. */
export function nameOf(item, tag = "span") {
  const text = titleOf(item);
  const shouts = text.length > 3 && text === text.toUpperCase() && text !== text.toLowerCase();
  return make(tag, { class: shouts ? "name caps" : "name", dir: "auto", title: text === String(item) ? null : item }, text);
}

const plain = new Intl.NumberFormat("en");

/** A whole number with its thousands apart. */
export const whole = (number) => plain.format(number);

/**
 * A number with so many decimals and a true minus; `signed` puts a plus before the others. A number that the decimals
 * would hide, such as a small weight of a model that counts, has two significant digits.
 */
export function decimal(number, digits, signed = false) {
  const size = Math.abs(number);
  const text = size && size < 0.5 * 10 ** -digits ? size.toPrecision(2) : size.toFixed(digits);
  return (number < 0 ? "\u2212" : signed ? "+" : "") + text;
}

/** "1 item", "2 items". */
export const counted = (number, noun) => `${whole(number)} ${noun}${number === 1 ? "" : "s"}`;

let said;

/** Tell a screen reader, once what happens has come to rest. */
export function announce(text) {
  clearTimeout(said);
  said = setTimeout(() => (byId("live").textContent = text), 250);
}

/**
 * Make the children of `parent` those of `models`, in their order. An element is kept as long as its key comes again:
 * it keeps the focus and glides to its new place, unless it is to be there at once.
 *
 * @param create (model) => element with a method `update(model, place)`
 */
export function reconcile(parent, models, keyOf, create, atOnce = false) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const kept = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const tops = new Map([...kept.values()].map((child) => [child, child.offsetTop]));
  const wanted = models.map((model) => kept.get(keyOf(model)) ?? create(model));
  const stays = new Set(wanted);
  kept.forEach((child) => stays.has(child) || child.remove());
  wanted.forEach((child, place) => {
    child.dataset.key = keyOf(models[place]);
    child.update(models[place], place);
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
  });
  if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
  if (!atOnce && !still.matches) glide(wanted, tops);
}

const still = matchMedia("(prefers-reduced-motion: reduce)");

function glide(children, tops) {
  for (const child of children) {
    const way = tops.has(child) ? tops.get(child) - child.offsetTop : 0;
    const frames = tops.has(child) ? [{ transform: `translateY(${way}px)` }, {}] : [{ opacity: 0 }, {}];
    if (way !== 0 || !tops.has(child)) child.animate(frames, { duration: 180, easing: "ease-out" });
  }
}
