/** What was found in the photo that is shown: its people, and all that was read of the chosen one. */

import { alertBox, h, plural, progressBox, sentence, user } from "./dom.js";
import { NO_ONE } from "./reader.js";
import { resultView } from "./result.js";
import { whyView } from "./why.js";

const AGAIN = new Set([0, 401, 408, 429, 500, 503, 504]); // statuses after which the same photo may be read

export class Panel {
  #root;
  #actions;

  /** `actions`: readPhoto(photo), cancelPhoto(photo), select(person), readPerson(person), explain(person, labels). */
  constructor(root, actions) {
    this.#root = root;
    this.#actions = actions;
  }

  /** Shows a photo; the focus stays where it was, or goes to the element with `key`. */
  show(photo, key = null) {
    const root = this.#root;
    const wasInside = root.contains(document.activeElement);
    const focused = wasInside ? document.activeElement.dataset.key : undefined;
    root.replaceChildren(...this.#parts(photo).filter((part) => part !== null));
    if (!wasInside) return;
    const elements = [...root.querySelectorAll("[data-key]")];
    (elements.find((element) => element.dataset.key === focused) ?? elements.find((element) => element.dataset.key === key))?.focus();
  }

  #parts(photo) {
    if (photo.reading !== null) {
      const text = photo.reading.began === null ? "Waiting for the photos before." : "Finding and reading the people.";
      const cancel = () => this.#actions.cancelPhoto(photo);
      return [h("h2", {}, "Reading"), progressBox(text, photo.reading.began ?? performance.now(), cancel)];
    }
    const heading = h("h2", {}, photo.people.length ? plural(photo.people.length, "person", "people") : "No result");
    const failed = photo.error === null ? null : this.#failure(photo);
    const notes = photo.notes?.length ? h("ul", { class: "muted" }, photo.notes.map((note) => h("li", {}, user(sentence(note))))) : null;
    if (!photo.people.length) return [heading, failed ?? h("p", {}, NO_ONE), notes];
    return [heading, failed, this.#list(photo), photo.selected === null ? null : this.#person(photo, photo.selected), notes];
  }

  #failure(photo) {
    const read = () => this.#actions.readPhoto(photo);
    if (photo.error.name === "AbortError") {
      return h("div", {}, h("p", {}, "Reading was canceled."), h("button", { type: "button", on: { click: read } }, "Read the photo"));
    }
    return alertBox(photo.error, AGAIN.has(photo.error.status) ? read : null);
  }

  #list(photo) {
    return h(
      "ul",
      { class: "people", "aria-label": "People" },
      photo.people.map((person) =>
        h(
          "li",
          {},
          h(
            "button",
            {
              type: "button",
              "aria-pressed": String(person === photo.selected),
              "data-key": `person-${person.number}`,
              on: { click: () => this.#actions.select(person) },
            },
            h("span", { class: "tag", "aria-hidden": "true" }, String(person.number)),
            h("span", { class: "visually-hidden" }, `Person ${person.number}: `),
            user(person.summary),
          ),
        ),
      ),
    );
  }

  #person(photo, person) {
    const parts = [h("h3", { class: "title" }, `Person ${person.number}`)];
    const again = () => this.#actions.readPerson(person);
    if (person.reading !== null) {
      parts.push(progressBox("Reading this person.", person.reading.began, () => person.reading.controller.abort()));
    } else if (person.error !== null) parts.push(alertBox(person.error, person.isOwn ? again : null));
    else if (person.result === null || person.isStale) {
      parts.push(
        h("p", {}, person.result === null ? "This box was not read yet." : "The box has changed since it was read."),
        h("button", { type: "button", class: "primary", on: { click: again } }, "Read this box"),
      );
    }
    if (person.result !== null && !person.isStale) {
      const options = { isExclusive: photo.model.exclusive, showAll: person.showAll, onShowAll: () => this.#change(photo, person, { showAll: !person.showAll }) };
      parts.push(...resultView(person.result, photo.answer, options));
      if (photo.model.endpoints.includes("explain")) {
        parts.push(
          whyView(person, photo, photo.image, {
            explain: (labels) => this.#actions.explain(person, labels),
            cancel: () => person.whyController.abort(),
            choose: (changes) => this.#change(photo, person.why, changes),
          }),
        );
      }
    }
    return h("article", { class: "card" }, parts);
  }

  #change(photo, values, changes) {
    Object.assign(values, changes);
    this.show(photo);
  }
}
