/** Elements from data. Data become text or attributes; no module of this page parses HTML. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. Properties: `class`, `on` ({event: listener}), `style` ({property: value}), and attributes; true is an
 * empty attribute, false, null and undefined are none. Children: elements and text.
 */
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same in the namespace of SVG. */
export function s(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, { on = {}, style = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  for (const [event, listener] of Object.entries(on)) element.addEventListener(event, listener);
  // Through the object model, which the content policy allows, unlike the attribute.
  for (const [property, value] of Object.entries(style)) element.style.setProperty(property, String(value));
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Text from data, isolated, so that right-to-left text does not affect its surroundings. */
export function user(text) {
  return h("bdi", { class: "user" }, text);
}

/** A label; it may break after a slash, as in "Doubt/Confusion". */
export function labelName(text) {
  return h("bdi", { class: "user" }, text.split("/").map((part, index) => (index ? ["/", h("wbr"), part] : part)));
}

export const byId = (id) => document.getElementById(id);

let pending = 0;

/** Says something to screen readers, once it has not changed for a moment. */
export function announce(text) {
  clearTimeout(pending);
  pending = setTimeout(() => {
    byId("status").textContent = text;
  }, 150);
}

/** An error with what to do, and a button to try again if there is something to try. */
export function alertBox(error, onRetry = null) {
  return h(
    "div",
    { class: "alert", role: "alert" },
    h("p", {}, h("strong", {}, user(sentence(error.message)))),
    error.hint ? h("p", {}, user(sentence(error.hint))) : null,
    error.requestId ? h("p", { class: "muted" }, "Request ", user(error.requestId)) : null,
    onRetry === null ? null : h("button", { type: "button", on: { click: onRetry } }, "Try again"),
  );
}

/** What takes time: how long it has taken, and a button that ends it. */
export function progressBox(text, began, onCancel) {
  const seconds = h("span", { class: "figure" });
  const box = h(
    "div",
    { class: "progress" },
    h("span", { class: "bar", "aria-hidden": "true" }),
    h("p", {}, text, " ", seconds),
    h("button", { type: "button", on: { click: onCancel } }, "Cancel"),
  );
  const show = () => {
    const passed = Math.floor((performance.now() - began) / 1000);
    seconds.textContent = passed < 1 ? "" : `${passed} s`;
  };
  show();
  const timer = setInterval(() => (box.isConnected ? show() : clearInterval(timer)), 500);
  return box;
}

/** A color with what it means, on one line. */
export function keyItem(kind, text) {
  return h("span", { class: "key-item" }, h("span", { class: `swatch ${kind}`, "aria-hidden": "true" }), text);
}

/** A message as a sentence. The service calls the photo of a request "images[0]". */
export function sentence(text) {
  const plain = text.replaceAll("images[0]", "the photo");
  const ended = /[.!?]$/.test(plain) ? plain : `${plain}.`;
  return ended.charAt(0).toUpperCase() + ended.slice(1);
}

export const score = (value) => value.toFixed(2);
export const percent = (value) => `${Math.round(100 * value)} %`;
/** A change with its sign, and none if it rounds to zero. */
export function signed(value) {
  const size = Math.abs(value).toFixed(2);
  return `${Number(size) === 0 ? "\u00b1" : value < 0 ? "\u2212" : "+"}${size}`;
}

export const plural = (count, one, many) => `${count} ${count === 1 ? one : many}`;
