/** The page: photos come in, people are found and chosen, and what was read of them is shown. */

import { Service } from "./api.js";
import { alertBox, announce, byId, h, plural, user } from "./dom.js";
import { Panel } from "./panel.js";
import { Photo } from "./photos.js";
import { Reader } from "./reader.js";
import { Stage } from "./stage.js";

const MEGABYTE = 2 ** 20;

const service = new Service();
let model = null; // what is served
let limits = null;
const photos = [];
let current = null; // the photo that is shown

const reader = new Reader(service, photos, { changed: render, refused: askForToken });

const panel = new Panel(byId("result"), {
  readPhoto: (photo) => reader.readPhoto(photo),
  cancelPhoto: (photo) => reader.cancelPhoto(photo),
  select,
  readPerson: (person) => reader.readPerson(person),
  explain: (person, labels) => reader.explain(person, labels, limits.max_boxes),
});

const stage = new Stage(byId("stage"), {
  select,
  draw(box, isReady) {
    const person = current.add({ box, isOwn: true });
    current.selected = person;
    if (isReady) reader.readPerson(person);
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
    if (isReady) reader.readPerson(person);
    else render(person.photo);
  },
  read: (person) => reader.readPerson(person),
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
  let examples;
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
  const added = entries.map(([file, name]) => new Photo(file, name, model));
  photos.push(...added);
  for (const photo of added) {
    decode(photo);
    if (photo.file.size > limits.max_bytes) {
      photo.error = { message: `the photo has ${Math.ceil(photo.file.size / MEGABYTE)} MB, and the service takes ${Math.floor(limits.max_bytes / MEGABYTE)}`, hint: "make it smaller, and choose it again" };
    } else photo.reading = { began: null, controller: new AbortController() };
  }
  show(added[0]);
  reader.readWaiting();
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

function select(person) {
  current.selected = person;
  if (person !== null) announce(`${person.title}.`);
  render(current);
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

/** Shows what has changed of a photo; `key` gets the focus if it was in the result. */
function render(photo, key = null) {
  renderStrip();
  if (photo !== current) return;
  stage.show(photo);
  panel.show(photo, key);
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
