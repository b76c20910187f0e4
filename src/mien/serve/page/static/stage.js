/**
 * The photo with the boxes of its people: boxes are chosen, drawn, moved and resized, by pointer and by keyboard.
 *
 * Boxes are [left, top, right, bottom] in pixels of the upright photo.
 */

import { announce, h, user } from "./dom.js";

const SMALLEST = 4; // pixels of the photo
const DRAWN = 12; // pixels on the screen, from which on a gesture draws a box
const STEP = 0.01; // of the longer side of the photo, per press of a key
const CORNERS = ["nw", "ne", "sw", "se"];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const EDGES = ["Left", "Top", "Right", "Bottom"];

export class Stage {
  #root;
  #actions;
  #photo = null;
  #overlay = null;
  #numbers = null;
  #isDrawing = false;
  #gesture = null;

  /** `actions`: select(person), draw(box), change(person, box), read(person), remove(person), removePhoto(photo). */
  constructor(root, actions) {
    this.#root = root;
    this.#actions = actions;
  }

  /** Shows a photo; the focus stays at the same person or button. */
  show(photo) {
    const focused = this.#root.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    if (photo !== this.#photo) this.#isDrawing = false;
    this.#photo = photo;
    this.#gesture = null;
    this.#overlay = h("div", { class: "overlay" }, this.#boxes());
    this.#overlay.addEventListener("pointerdown", (event) => this.#press(event));
    this.#overlay.addEventListener("pointermove", (event) => this.#drag(event));
    this.#overlay.addEventListener("pointerup", (event) => this.#release(event));
    this.#overlay.addEventListener("pointercancel", () => this.#abandon());
    const [width, height] = this.#size;
    const frame = h("div", { class: "frame", style: { "--ratio": width / height } }, this.#image(), this.#overlay);
    frame.classList.toggle("drawing", this.#isDrawing);
    this.#root.replaceChildren(
      h("figure", {}, frame, h("figcaption", { class: "muted" }, user(photo.name), photo.sizeText)),
      this.#toolbar(),
      this.#isDrawing || this.#own ? this.#editor() : "",
    );
    if (focused) this.focus(focused);
  }

  /** Puts the focus on the box of a person, or on a button by its key. */
  focus(key) {
    [...this.#root.querySelectorAll("[data-key]")].find((element) => element.dataset.key === key)?.focus();
  }

  get #size() {
    return [this.#photo.width || 4, this.#photo.height || 3];
  }

  /** The chosen person, if their box was drawn here. */
  get #own() {
    return this.#photo.selected?.isOwn ? this.#photo.selected : null;
  }

  #image() {
    if (this.#photo.isShown) return h("img", { src: this.#photo.url, alt: "", draggable: "false" });
    const why = this.#photo.isReading ? "" : this.#photo.error === null ? "This browser cannot show the photo, but the service has read it." : "No preview";
    return h("div", { class: "unseen" }, h("p", {}, why));
  }

  // --- Boxes ---

  #boxes() {
    const area = ({ box }) => (box[2] - box[0]) * (box[3] - box[1]);
    // The smallest comes last, so that it lies above those around it; the order of tabs is the same.
    const people = this.#photo.people.filter((person) => person.box !== null);
    const depths = new Map([...people].sort((a, b) => area(b) - area(a)).map((person, depth) => [person, depth + 1]));
    return people.map((person) => this.#box(person, depths.get(person)));
  }

  #box(person, depth) {
    const isSelected = person === this.#photo.selected;
    const movable = person.isOwn && isSelected;
    const element = h(
      movable ? "div" : "button",
      {
        class: `box${person.isOwn ? " own" : ""}${isSelected ? " selected" : ""}`,
        type: movable ? null : "button",
        role: movable ? "application" : null,
        tabindex: movable ? 0 : null,
        "aria-roledescription": movable ? "movable box" : null,
        "aria-describedby": movable ? "keys" : null,
        "aria-label": movable ? `Box of ${person.title}: ${describeBox(person.box)}` : person.title,
        "aria-pressed": movable ? null : String(isSelected),
        "data-key": `box-${person.number}`,
        style: { "z-index": movable ? 1000 : depth },
        on: movable
          ? { keydown: (event) => this.#pressKey(event, person) }
          : { click: () => this.#actions.select(person) },
      },
      h("span", { class: "tag", "aria-hidden": "true" }, String(person.number)),
      movable ? CORNERS.map((corner) => h("span", { class: `handle ${corner}`, "data-corner": corner })) : null,
    );
    this.#place(element, person.box);
    return element;
  }

  #place(element, [left, top, right, bottom]) {
    const [width, height] = this.#size;
    element.style.left = `${(100 * left) / width}%`;
    element.style.top = `${(100 * top) / height}%`;
    element.style.width = `${(100 * (right - left)) / width}%`;
    element.style.height = `${(100 * (bottom - top)) / height}%`;
  }

  // --- Buttons ---

  #toolbar() {
    const photo = this.#photo;
    const canDraw = Boolean(photo.width) && !photo.isReading;
    return h(
      "div",
      { class: "row toolbar" },
      h(
        "button",
        {
          type: "button",
          "data-key": "draw",
          "aria-pressed": String(this.#isDrawing),
          disabled: !canDraw,
          on: { click: (event) => (this.#isDrawing ? this.#stop() : this.#start(event.detail === 0)) },
        },
        this.#isDrawing ? "Stop drawing" : "Draw a box",
      ),
      this.#own
        ? h("button", { type: "button", on: { click: () => this.#actions.remove(this.#own) } }, "Remove this box")
        : null,
      h(
        "button",
        { type: "button", "data-key": "remove-photo", on: { click: () => this.#actions.removePhoto(photo) } },
        "Remove photo",
      ),
    );
  }

  /** The keys in words, and the edges of the box as numbers. */
  #editor() {
    const person = this.#own;
    const help = person
      ? "Drag the box or its corners, or focus it: arrow keys move it, with Shift they resize it, Enter reads, Delete removes."
      : "Drag over the photo, from one corner of the person to the other.";
    const inputs = EDGES.map((name, edge) =>
      h("input", {
        type: "number",
        id: `edge-${edge}`,
        min: 0,
        max: this.#size[edge % 2],
        step: 1,
        inputmode: "numeric",
        value: person ? Math.round(person.box[edge]) : "",
        "data-key": `edge-${edge}`,
        "aria-label": `${name} edge, in pixels`,
      }),
    );
    this.#numbers = inputs;
    const submit = (event) => {
      event.preventDefault();
      const box = this.#bounded(inputs.map((input) => input.valueAsNumber || 0));
      if (person) this.#actions.change(person, box, true);
      else this.#finish(box);
    };
    return h(
      "form",
      { class: "editor", on: { submit } },
      h("p", { id: "keys", class: "muted" }, help),
      h(
        "div",
        { class: "row numbers" },
        EDGES.map((name, edge) => h("label", { for: `edge-${edge}` }, h("span", { class: "muted" }, name), inputs[edge])),
        h("button", { type: "submit", class: person?.isStale ? "primary" : "", "data-key": "read" }, "Read this box"),
      ),
    );
  }

  // --- Drawing ---

  #start(byKeyboard) {
    if (byKeyboard) {
      const [width, height] = this.#size;
      this.#actions.draw([0.35 * width, 0.2 * height, 0.65 * width, 0.8 * height].map(Math.round), false);
      return;
    }
    this.#isDrawing = true;
    this.#actions.select(null);
    announce("Drag over the photo to draw a box, or type its edges.");
  }

  #stop() {
    this.#isDrawing = false;
    this.show(this.#photo);
  }

  #finish(box) {
    this.#isDrawing = false;
    this.#actions.draw(box, true);
  }

  #press(event) {
    if (event.button !== 0 || this.#gesture !== null) return;
    const start = this.#point(event);
    const element = event.target.closest(".box.own.selected");
    if (this.#isDrawing) {
      this.#gesture = { kind: "draw", start, element: h("div", { class: "box own selected draft" }), box: null };
      this.#overlay.append(this.#gesture.element);
      this.#place(this.#gesture.element, [...start, ...start]);
    } else if (element !== null) {
      const kind = event.target.dataset.corner ?? "move";
      this.#gesture = { kind, start, element, person: this.#own, from: this.#own.box, box: null };
      element.focus();
    } else return;
    event.preventDefault();
    this.#overlay.setPointerCapture(event.pointerId);
  }

  #drag(event) {
    const gesture = this.#gesture;
    if (gesture === null) return;
    const [x, y] = this.#point(event);
    const [startX, startY] = gesture.start;
    if (gesture.kind === "draw") {
      gesture.box = this.#bounded([startX, startY, x, y]);
    } else if (gesture.kind === "move") {
      gesture.box = this.#moved(gesture.from, x - startX, y - startY);
    } else {
      const box = [...gesture.from];
      box[gesture.kind.endsWith("w") ? 0 : 2] += x - startX;
      box[gesture.kind.startsWith("n") ? 1 : 3] += y - startY;
      gesture.box = this.#bounded(box);
    }
    this.#place(gesture.element, gesture.box);
    this.#numbers?.forEach((input, edge) => (input.value = gesture.box[edge]));
  }

  #release(event) {
    const gesture = this.#gesture;
    if (gesture === null) return;
    this.#drag(event);
    this.#gesture = null;
    const pixels = gesture.element.getBoundingClientRect();
    if (gesture.kind !== "draw") {
      if (gesture.box.some((edge, index) => edge !== gesture.from[index])) this.#actions.change(gesture.person, gesture.box, true);
    } else if (pixels.width < DRAWN || pixels.height < DRAWN) {
      gesture.element.remove(); // a click
      announce("That box is too small. Drag from one corner of the person to the other.");
    } else this.#finish(gesture.box);
  }

  #abandon() {
    this.#gesture = null;
    this.show(this.#photo);
  }

  #pressKey(event, person) {
    const { box } = person;
    if (event.key in ARROWS) {
      const step = Math.max(1, Math.round(STEP * Math.max(...this.#size)));
      const [x, y] = ARROWS[event.key].map((sign) => sign * step);
      const changed = event.shiftKey ? this.#bounded([box[0], box[1], box[2] + x, box[3] + y]) : this.#moved(box, x, y);
      this.#actions.change(person, changed, false);
      announce(describeBox(changed));
    } else if (event.key === "Enter") this.#actions.read(person);
    else if (event.key === "Delete" || event.key === "Backspace") this.#actions.remove(person);
    else return;
    event.preventDefault();
  }

  /** Where a pointer is, in pixels of the photo. */
  #point(event) {
    const area = this.#overlay.getBoundingClientRect();
    const [width, height] = this.#size;
    const within = (value, largest) => Math.round(Math.min(Math.max(value, 0), largest));
    return [
      within(((event.clientX - area.left) / area.width) * width, width),
      within(((event.clientY - area.top) / area.height) * height, height),
    ];
  }

  #moved([left, top, right, bottom], x, y) {
    const [width, height] = this.#size;
    const byX = Math.round(Math.min(Math.max(x, -left), width - right));
    const byY = Math.round(Math.min(Math.max(y, -top), height - bottom));
    return [left + byX, top + byY, right + byX, bottom + byY];
  }

  /** A box within the photo, its edges in order, whole pixels, and not empty. */
  #bounded([left, top, right, bottom]) {
    const [width, height] = this.#size;
    const range = (a, b, largest) => {
      const low = Math.round(Math.min(Math.max(Math.min(a, b), 0), Math.max(0, largest - SMALLEST)));
      return [low, Math.round(Math.min(Math.max(Math.max(a, b), low + SMALLEST), largest))];
    };
    const [x, y] = [range(left, right, width), range(top, bottom, height)];
    return [x[0], y[0], x[1], y[1]];
  }
}

function describeBox(box) {
  return EDGES.map((name, edge) => `${name.toLowerCase()} ${Math.round(box[edge])}`).join(", ");
}
