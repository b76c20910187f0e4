/** The photos of this tab, the people in them, and what was read of each. */

import { plural } from "./dom.js";
import { headline } from "./result.js";

/** One person: a box, and what was read of it. */
export class Person {
  error = null;
  result = null;
  reading = null; // {began, controller} while it is read
  isStale = false; // whether the box has changed since
  why = null;
  whyController = null;
  showAll = false;

  constructor(photo, number, { box, isOwn, result = null }) {
    Object.assign(this, { photo, number, box, isOwn });
    if (result !== null) this.take(result);
  }

  take(result) {
    this.result = result.error === null ? result : null;
    this.error = result.error;
    this.isStale = false;
    this.why = null;
  }

  get summary() {
    if (this.reading !== null) return "reading";
    if (this.error !== null) return "failed";
    return this.result === null ? "not read yet" : headline(this.result, this.photo.model.exclusive);
  }

  get title() {
    return `Person ${this.number}: ${this.summary}`;
  }

  forget() {
    this.reading?.controller.abort();
    this.whyController?.abort();
  }
}

/** One photo. `model`: what the service says about the model that reads it. */
export class Photo {
  people = [];
  selected = null;
  answer = null;
  error = null;
  width = 0;
  height = 0;
  image = null; // once the browser has decoded it
  reading = null; // {began, controller}; began is null while it waits
  numPeople = 0; // ever, so that numbers are not used twice

  constructor(file, name, model) {
    Object.assign(this, { file, name, model });
    this.url = URL.createObjectURL(file);
  }

  get isReading() {
    return this.reading !== null;
  }

  get isShown() {
    return this.image !== null;
  }

  get sizeText() {
    return this.width ? `, ${this.width} × ${this.height} pixels` : "";
  }

  get summary() {
    if (this.reading !== null) return this.reading.began === null ? "waiting" : "reading";
    if (this.error !== null) return this.error.name === "AbortError" ? "canceled" : "failed";
    return this.people.length ? plural(this.people.length, "person", "people") : "no one found";
  }

  add(values) {
    const person = new Person(this, ++this.numPeople, values);
    this.people.push(person);
    return person;
  }

  forget() {
    this.reading?.controller.abort();
    for (const person of this.people) person.forget();
    URL.revokeObjectURL(this.url);
  }
}
