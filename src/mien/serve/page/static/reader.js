/** Reads photos and people with the service, and explains the scores of people. */

import { announce, plural, sentence } from "./dom.js";

const AT_ONCE = 2; // photos that are read at the same time

export const NO_ONE = "No people were found. Draw a box around a person to read them.";

export class Reader {
  #service;
  #photos;
  #changed;
  #refused;

  /** `photos`: all of the tab. `changed(photo, key)` is called after each change, `refused()` if a token is needed. */
  constructor(service, photos, { changed, refused }) {
    this.#service = service;
    this.#photos = photos;
    this.#changed = changed;
    this.#refused = refused;
  }

  /** Reads the photos that wait, a few at a time. */
  readWaiting() {
    const pending = this.#photos.filter((photo) => photo.reading !== null);
    const free = AT_ONCE - pending.filter((photo) => photo.reading.began !== null).length;
    for (const photo of pending.filter((photo) => photo.reading.began === null).slice(0, Math.max(0, free))) this.readPhoto(photo);
  }

  async readPhoto(photo) {
    const { controller } = photo.reading ?? { controller: new AbortController() };
    photo.reading = { began: performance.now(), controller };
    photo.error = null;
    this.#changed(photo);
    try {
      const { image, ...answer } = await this.#service.predict(photo.file, null, controller.signal);
      photo.answer = answer;
      [photo.width, photo.height] = [image.width, image.height];
      photo.notes = image.notes;
      for (const result of image.people) photo.add({ box: result.box, isOwn: false, result });
      photo.selected = photo.people[0] ?? null;
    } catch (error) {
      photo.error = error;
    }
    photo.reading = null;
    if (this.#photos.includes(photo)) {
      announce(news(photo));
      this.#changed(photo);
      if (photo.error?.status === 401) this.#refused();
    }
    this.readWaiting();
  }

  cancelPhoto(photo) {
    photo.reading.controller.abort();
    if (photo.reading.began !== null) return;
    photo.reading = null;
    photo.error = new DOMException("canceled", "AbortError");
    this.#changed(photo);
  }

  /** Reads the box of a person. */
  async readPerson(person) {
    const { photo } = person;
    person.forget();
    const controller = new AbortController();
    const reading = { began: performance.now(), controller };
    Object.assign(person, { reading, result: null, error: null, why: null });
    this.#changed(photo);
    let error = null;
    try {
      const { image, ...answer } = await this.#service.predict(photo.file, [person.box], controller.signal);
      if (person.reading !== reading) return;
      photo.answer ??= answer;
      person.take(image.people[0]);
    } catch (failure) {
      error = failure;
    }
    if (person.reading !== reading) return; // its box has changed again
    person.reading = null;
    if (error?.name === "AbortError") person.isStale = true;
    else if (error !== null) person.error = error;
    announce(`${person.title}.`);
    this.#changed(photo);
  }

  /** Asks why a person has these scores, with at most `maxBoxes` people, so that they can be compared. */
  async explain(person, labels, maxBoxes) {
    const { photo } = person;
    const controller = new AbortController();
    const why = { began: performance.now(), labels };
    Object.assign(person, { why, whyController: controller });
    this.#changed(photo, "why");
    let next;
    try {
      const others = photo.people.filter((other) => other !== person && other.result !== null && !other.isStale);
      const people = [...others.slice(0, maxBoxes - 1), person].sort((a, b) => a.number - b.number);
      const hasBoxes = people.every((other) => other.box !== null);
      const { explanation } = await this.#service.explain(
        photo.file,
        hasBoxes ? people.map((other) => other.box) : null,
        { person: hasBoxes ? people.indexOf(person) : 0, labels },
        controller.signal,
      );
      next = { explanation, numbers: people.map((other) => other.number), label: explanation.labels[0]?.label, method: null };
      announce("The explanation is ready.");
    } catch (error) {
      next = error.name === "AbortError" ? null : { error, labels };
      if (next === null) announce("Canceled.");
    }
    if (person.why !== why) return; // it was read again
    person.why = next;
    this.#changed(photo, "why");
  }
}

function news(photo) {
  if (photo.error !== null) return photo.error.name === "AbortError" ? "Canceled." : sentence(photo.error.message);
  if (!photo.people.length) return NO_ONE;
  const [first] = photo.people;
  return `${photo.name}: ${plural(photo.people.length, "person", "people")}. ${first.title}.`;
}
