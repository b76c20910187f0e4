/** The page: photos come in, people are found and chosen, and what was read of them is shown. */

import { Service } from "./api.js";
import { alertBox, announce, byId, h, plural, progressBox, sentence, user } from "./dom.js";
import { headline, resultView } from "./result.js";
import { Stage } from "./stage.js";
import { whyView } from "./why.js";

const AT_ONCE = 2; // photos that are read at the same time
const AGAIN = new Set([0, 401, 408, 429, 500, 503, 504]); // statuses after which the same photo may be read
const MEGABYTE = 2 ** 20;
const NO_ONE = "No people were found. Draw a box around a person to read them.";

const service = new Service();
let model = null; // what is served
let limits = null;
let examples = [];
const photos = [];
let current = null; // the photo that is shown

// --- Values --------------------------------------------------------------------------------------------

class Person {
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
    return this.result === null ? "not read yet" : headline(this.result, model.exclusive);
  }

  get title() {
    return `Person ${this.number}: ${this.summary}`;
  }

  forget() {
    this.reading?.controller.abort();
    this.whyController?.abort();
  }
}

class Photo {
  people = [];
  selected = null;
  answer = null;
  error = null;
  width = 0;
  height = 0;
  image = null; // once the browser has decoded it
  reading = null; // {began, controller}; began is null while it waits
  numPeople = 0; // ever, so that numbers are not used twice

  constructor(file, name) {
    this.file = file;
    this.name = name;
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

// --- Start ---------------------------------------------------------------------------------------------

async function start() {
  byId("start-error").hidden = true;
  let answer;
  try {
    answer = await service.models();
  } catch (error) {
    if (error.status === 401) askForToken();
    else {
      byId("start-error").hidden = false;
      byId("start-error").replaceChildren(...alertBox(error, start).childNodes);
    }
    return;
  }
  [model] = answer.models;
  ({ limits } = answer);
  byId("token-form").hidden = true;
  byId("intake").hidden = false;
  byId("drawn").hidden = !model.embedded;
  byId("limits").textContent = `Up to ${Math.floor(limits.max_bytes / MEGABYTE)} MB each. An address or a link is never opened.`;
  byId("facts").replaceChildren(
    "Model ", user(model.id), `, ${plural(model.labels.length, "label", "labels")} (`, user(model.label_set), "), ",
    model.calibrated ? "calibrated" : "not calibrated", ". People are found by ", user(model.detector ?? "no detector: the whole photo is read"),
    `. mien ${answer.version}.`,
  );
  await loadExamples();
}

function askForToken() {
  const wasAsked = !byId("token-form").hidden;
  byId("token-form").hidden = false;
  byId("token-error").textContent = wasAsked ? "The service refuses this token." : "";
  byId("token").focus();
}

async function loadExamples() {
  try {
    examples = await (await fetch("page/examples.json")).json();
  } catch {
    return; // the page works without
  }
  byId("examples").hidden = false;
  byId("example-list").replaceChildren(
    ...examples.map(({ file, title }) =>
      h("li", {}, h("button", { type: "button", on: { click: () => addExample(file, title) } }, h("img", { src: file, alt: title, width: 96, height: 96 }))),
    ),
  );
}

async function addExample(file, title) {
  try {
    const response = await fetch(file);
    if (!response.ok) throw new Error(`status ${response.status}`);
    add([[await response.blob(), title]]);
  } catch {
    complain({ message: "the example cannot be loaded", hint: "check that the service still runs" });
  }
}

// --- Photos come in ------------------------------------------------------------------------------------

function addFiles(files) {
  if (files.length) add([...files].map((file) => [file, file.name]));
  else complain({ message: "there is no photo in that", hint: "drop or paste files; addresses and text are not opened" });
}

function add(entries) {
  byId("start-error").hidden = true;
  const added = entries.map(([file, name]) => new Photo(file, name));
  photos.push(...added);
  for (const photo of added) {
    decode(photo);
    if (photo.file.size > limits.max_bytes) {
      photo.error = { message: `the photo has ${Math.ceil(photo.file.size / MEGABYTE)} MB, and the service takes ${Math.floor(limits.max_bytes / MEGABYTE)}`, hint: "make it smaller, and choose it again" };
    } else photo.reading = { began: null, controller: new AbortController() };
  }
  show(added[0]);
  readWaiting();
  // On a phone, the photo is below the fold.
  if (byId("desk").getBoundingClientRect().top > 0.6 * window.innerHeight) byId("desk").scrollIntoView({ block: "start" });
}

/** Shows the photo as soon as the browser has decoded it; it may not know the format. */
async function decode(photo) {
  const image = new Image();
  image.src = photo.url;
  try {
    await image.decode();
  } catch {
    return;
  }
  photo.image = image;
  if (!photo.width) [photo.width, photo.height] = [image.naturalWidth, image.naturalHeight];
  render(photo);
}

function readWaiting() {
  const pending = photos.filter((photo) => photo.reading !== null);
  const free = AT_ONCE - pending.filter((photo) => photo.reading.began !== null).length;
  for (const photo of pending.filter((photo) => photo.reading.began === null).slice(0, Math.max(0, free))) readPhoto(photo);
}

async function readPhoto(photo) {
  const { controller } = photo.reading ?? { controller: new AbortController() };
  photo.reading = { began: performance.now(), controller };
  photo.error = null;
  render(photo);
  try {
    const { image, ...answer } = await service.predict(photo.file, null, controller.signal);
    photo.answer = answer;
    [photo.width, photo.height] = [image.width, image.height];
    photo.notes = image.notes;
    for (const result of image.people) photo.add({ box: result.box, isOwn: false, result });
    photo.selected = photo.people[0] ?? null;
  } catch (error) {
    photo.error = error;
  }
  photo.reading = null;
  if (photos.includes(photo)) {
    announce(photoNews(photo));
    render(photo);
    if (photo.error?.status === 401) askForToken();
  }
  readWaiting();
}

function photoNews(photo) {
  if (photo.error !== null) return photo.error.name === "AbortError" ? "Canceled." : sentence(photo.error.message);
  if (!photo.people.length) return NO_ONE;
  const [first] = photo.people;
  return `${photo.name}: ${plural(photo.people.length, "person", "people")}. ${first.title}.`;
}

function removePhoto(photo) {
  const index = photos.indexOf(photo);
  photo.forget();
  photos.splice(index, 1);
  if (current === photo) current = photos[Math.min(index, photos.length - 1)] ?? null;
  announce(`${photo.name} was removed.`);
  renderAll();
  if (current === null) byId("files").focus();
  else stage.focus("remove-photo");
}

// --- People --------------------------------------------------------------------------------------------

const stage = new Stage(byId("stage"), {
  select: (person) => select(person),
  draw(box, isReady) {
    const person = current.add({ box, isOwn: true });
    current.selected = person;
    if (isReady) readPerson(person);
    else {
      announce("A box is in the middle of the photo. Arrow keys move it, with Shift they resize it, Enter reads it.");
      render(current);
      stage.focus(`box-${person.number}`);
    }
  },
  change(person, box, isReady) {
    person.box = box;
    person.isStale = true;
    person.reading?.controller.abort();
    if (isReady) readPerson(person);
    else render(person.photo);
  },
  read: (person) => readPerson(person),
  remove(person) {
    const { photo } = person;
    person.forget();
    photo.people.splice(photo.people.indexOf(person), 1);
    photo.selected = photo.people[0] ?? null;
    announce(`The box of person ${person.number} was removed.`);
    render(photo);
    stage.focus("draw");
  },
  removePhoto,
});

function select(person) {
  current.selected = person;
  if (person !== null) announce(`${person.title}.`);
  render(current);
}

async function readPerson(person) {
  const { photo } = person;
  person.forget();
  const controller = new AbortController();
  const reading = { began: performance.now(), controller };
  Object.assign(person, { reading, result: null, error: null, why: null });
  render(photo);
  let error = null;
  try {
    const { image, ...answer } = await service.predict(photo.file, [person.box], controller.signal);
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
  render(photo);
}

async function explain(person, labels) {
  const { photo } = person;
  const controller = new AbortController();
  const why = { began: performance.now(), labels };
  Object.assign(person, { why, whyController: controller });
  render(photo, "why");
  let next;
  try {
    // With the boxes of others, so that the person can be compared with them.
    const others = photo.people.filter((other) => other !== person && other.result !== null && !other.isStale);
    const people = [...others.slice(0, limits.max_boxes - 1), person].sort((a, b) => a.number - b.number);
    const hasBoxes = people.every((other) => other.box !== null);
    const { explanation } = await service.explain(
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
  render(photo, "why");
}

// --- Rendering -----------------------------------------------------------------------------------------

function show(photo) {
  current = photo;
  renderAll();
}

function renderAll() {
  byId("desk").hidden = current === null;
  byId("intake").classList.toggle("compact", photos.length > 0);
  renderStrip();
  if (current !== null) render(current);
}

/** Renders a photo if it is the one that is shown; `key` gets the focus if it was in the result. */
function render(photo, key = null) {
  renderStrip();
  if (photo !== current) return;
  stage.show(photo);
  const root = byId("result");
  const focused = root.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const wasInside = root.contains(document.activeElement);
  root.replaceChildren(...resultParts(photo).filter((part) => part !== null));
  if (!wasInside) return;
  const elements = [...root.querySelectorAll("[data-key]")];
  (elements.find((element) => element.dataset.key === focused) ?? elements.find((element) => element.dataset.key === key))?.focus();
}

function renderStrip() {
  byId("strip").hidden = photos.length < 2;
  byId("photo-list").replaceChildren(
    ...photos.map((photo) =>
      h(
        "li",
        {},
        h(
          "button",
          { type: "button", "aria-pressed": String(photo === current), on: { click: () => show(photo) } },
          photo.isShown ? h("img", { src: photo.url, alt: "", width: 64, height: 64 }) : h("span", { class: "unseen" }),
          h("span", { class: "name" }, user(photo.name)),
          h("span", { class: "muted" }, photo.summary),
        ),
      ),
    ),
  );
}

function resultParts(photo) {
  if (photo.reading !== null) {
    const text = photo.reading.began === null ? "Waiting for the photos before." : "Finding and reading the people.";
    return [h("h2", {}, "Reading"), progressBox(text, photo.reading.began ?? performance.now(), () => cancelPhoto(photo))];
  }
  const heading = h("h2", {}, photo.people.length === 1 ? "1 person" : photo.people.length ? `${photo.people.length} people` : "No result");
  const failed = photo.error === null ? null : photoError(photo);
  const notes = photo.notes?.length ? h("ul", { class: "muted" }, photo.notes.map((note) => h("li", {}, user(sentence(note))))) : null;
  if (!photo.people.length) return [heading, failed ?? h("p", {}, NO_ONE), notes];
  return [heading, failed, peopleList(photo), photo.selected === null ? null : personPart(photo, photo.selected), notes];
}

function photoError(photo) {
  const isRepeatable = AGAIN.has(photo.error.status);
  if (photo.error.name === "AbortError") {
    return h("div", {}, h("p", {}, "Reading was canceled."), h("button", { type: "button", on: { click: () => readPhoto(photo) } }, "Read the photo"));
  }
  return alertBox(photo.error, isRepeatable ? () => readPhoto(photo) : null);
}

function cancelPhoto(photo) {
  photo.reading.controller.abort();
  if (photo.reading.began !== null) return;
  photo.reading = null;
  photo.error = new DOMException("canceled", "AbortError");
  render(photo);
}

function peopleList(photo) {
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
            on: { click: () => select(person) },
          },
          h("span", { class: "tag", "aria-hidden": "true" }, String(person.number)),
          h("span", { class: "visually-hidden" }, `Person ${person.number}: `),
          user(person.summary),
        ),
      ),
    ),
  );
}

function personPart(photo, person) {
  const parts = [h("h3", { class: "title" }, `Person ${person.number}`)];
  const again = () => readPerson(person);
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
    const showAll = () => {
      person.showAll = !person.showAll;
      render(photo);
    };
    const options = { isExclusive: model.exclusive, showAll: person.showAll, onShowAll: showAll };
    parts.push(...resultView(person.result, photo.answer, options));
    if (model.endpoints.includes("explain")) {
      parts.push(
        whyView(person, photo, photo.image, {
          explain: (labels) => explain(person, labels),
          cancel: () => person.whyController.abort(),
          choose(changes) {
            Object.assign(person.why, changes);
            render(photo);
          },
        }),
      );
    }
  }
  return h("article", { class: "card" }, parts);
}

function complain(error) {
  byId("start-error").hidden = false;
  byId("start-error").replaceChildren(...alertBox(error).childNodes);
}

// --- What the visitor does -----------------------------------------------------------------------------

byId("files").addEventListener("change", (event) => {
  const files = [...event.target.files];
  event.target.value = ""; // so that the same file can be chosen again
  if (files.length) addFiles(files);
});

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  service.useToken(byId("token").value.trim());
  byId("token").value = "";
  start();
});

document.addEventListener("paste", (event) => {
  if (limits === null || event.target instanceof HTMLInputElement) return;
  event.preventDefault();
  addFiles(event.clipboardData.files);
});

// Everywhere, so that a photo dropped next to the field does not replace the page.
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) document.body.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  if (limits !== null) addFiles(event.dataTransfer.files);
});

await start();
