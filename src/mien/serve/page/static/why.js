/** Why a person has a score: the places and words that matter, and what would be if one thing were different. */

import { alertBox, h, keyItem, labelName, progressBox, score, sentence, signed, user } from "./dom.js";
import { drawHeatMap, strongestPlace } from "./heatmap.js";
import { ranked } from "./result.js";

const FAINT = 0.25; // of the strongest word: below it, a word has no underline
const SHOWN_CHANGE = 0.005; // of a score, which two digits show
const PUNCTUATION = /^[.,;:!?"()]+|[.,;:!?"()]+$/g; // next to a word
const METHODS = {
  occlusion: "What hiding changes",
  attention: "Where the model looked",
};

/**
 * The section about why. `person` has `why`: null, {began}, {error}, or {explanation} with the numbers of the people that
 * it speaks of, and what is chosen of it, `label` and `method`. `actions`: explain(labels), cancel(), choose(changes).
 */
export function whyView(person, photo, image, actions) {
  const { why } = person;
  const parts = [h("h3", { id: "why", tabindex: -1, "data-key": "why" }, "Why?")];
  if (why === null) parts.push(question(person, actions));
  else if (why.began !== undefined) {
    parts.push(progressBox("Hiding parts of the photo and words one by one.", why.began, actions.cancel));
  } else if (why.error !== undefined) parts.push(alertBox(why.error, () => actions.explain(why.labels)));
  else parts.push(...answer(person, photo, image, actions));
  return h("section", { class: "why", "aria-labelledby": "why" }, parts);
}

function question(person, actions) {
  return [
    h(
      "p",
      { class: "muted" },
      "See which places and words speak for a label, and what the scores would be if one thing were different. This takes a while.",
    ),
    labelForm(person, "Explain", actions),
  ];
}

function labelForm(person, button, actions) {
  const labels = ranked(person.result.scores).map(([label]) => label);
  const select = h(
    "select",
    { id: "explained", "data-key": "explained" },
    h("option", { value: "" }, `The ${Math.min(3, labels.length)} highest`),
    labels.map((label, index) => h("option", { value: index }, label)),
  );
  const submit = (event) => {
    event.preventDefault();
    actions.explain(select.value === "" ? [] : [labels[Number(select.value)]]);
  };
  return h(
    "form",
    { class: "row", on: { submit } },
    h("label", { for: "explained" }, "Label"),
    select,
    h("button", { type: "submit", class: button === "Explain" ? "primary" : "", "data-key": "explain" }, button),
  );
}

// --- The answer ---

function answer(person, photo, image, actions) {
  const { explanation, label, method, numbers } = person.why;
  const item = explanation.labels.find((found) => found.label === label) ?? explanation.labels[0];
  return [
    choices("Label", explanation.labels.map(({ label: name, score: value }) => [name, [labelName(name), ` ${score(value)}`]]), item.label, (name) =>
      actions.choose({ label: name }),
    ),
    placeSection(item, method, person, photo, image, actions),
    wordSection(item, explanation),
    counterfactualSection(item, explanation, numbers),
    explanation.notes.length
      ? h("section", {}, h("h4", {}, "Notes"), h("ul", {}, explanation.notes.map((note) => h("li", {}, user(sentence(note))))))
      : null,
    h("section", {}, h("h4", {}, "Explain another label"), labelForm(person, "Explain again", actions)),
  ];
}

/** A warning if what is shown was measured, and is no better than chance. */
function doubt(measured, method, words) {
  const found = measured.find((item) => item.method === method);
  return found === undefined || found.is_faithful ? null : h("p", { class: "warning" }, words);
}

/** Buttons, one of which is pressed. */
function choices(name, options, chosen, onChoose) {
  if (options.length < 2) return options.length ? h("p", {}, h("strong", {}, options[0][1])) : null;
  return h(
    "div",
    { class: "choices", role: "group", "aria-label": name },
    options.map(([value, content]) =>
      h(
        "button",
        {
          type: "button",
          "aria-pressed": String(value === chosen),
          "data-key": `${name}-${value}`,
          on: { click: () => onChoose(value) },
        },
        content,
      ),
    ),
  );
}

function placeSection(item, method, person, photo, image, actions) {
  const maps = ["occlusion", "attention"].filter((name) => item[name] !== null);
  if (!maps.length) return null;
  const shown = maps.includes(method) ? method : item.leading;
  const { values } = item[shown];
  const { value, place } = strongestPlace(values);
  const isOcclusion = shown === "occlusion";
  const said = isOcclusion
    ? `Hiding the ${place} changes the score most, by ${signed(-value)}.`
    : `The model looked most at the ${place}.`;
  return h(
    "section",
    {},
    h("h4", {}, "Where in the photo"),
    choices("Map", maps.map((name) => [name, METHODS[name]]), shown, (name) => actions.choose({ method: name })),
    h(
      "figure",
      { class: "map" },
      drawHeatMap(image, photo, values, person.box, `Heat map. ${said}`),
      h(
        "figcaption",
        { class: "muted" },
        `${said} `,
        isOcclusion
          ? [keyItem("for", "the score falls while it is hidden"), " ", keyItem("against", "it rises")]
          : [keyItem("for", "attention"), ". It says where the model read, not what that did."],
      ),
    ),
    doubt(
      item.region_faithfulness,
      shown,
      "Do not rely on this map: hiding the places that it marks moved the score no more than hiding places at random.",
    ),
  );
}

// --- Words ---

function wordSection(item, { description }) {
  if (description === null || !item.words.length) return null;
  const characters = Array.from(description); // positions count characters, not UTF-16 units
  const text = (start, end) => characters.slice(start, end).join("");
  const largest = Math.max(...item.words.map((word) => Math.abs(word.occlusion)));
  const parts = [];
  let end = 0;
  for (const word of item.words) {
    const share = largest > 0 ? word.occlusion / largest : 0;
    const kind = Math.abs(share) < FAINT ? null : share > 0 ? "for" : "against";
    parts.push(text(end, word.start));
    parts.push(
      h(
        kind === null ? "span" : "mark",
        {
          class: kind,
          title: `hidden: ${signed(-word.occlusion)}`,
          style: kind === null ? {} : { "--strength": `${Math.round(60 * Math.abs(share))}%` },
        },
        text(word.start, word.end),
      ),
    );
    end = word.end;
  }
  parts.push(text(end));
  const top = item.words
    .filter((word) => Math.abs(word.occlusion) >= SHOWN_CHANGE)
    .sort((a, b) => Math.abs(b.occlusion) - Math.abs(a.occlusion))
    .slice(0, 3);
  return h(
    "section",
    {},
    h("h4", {}, "Which words"),
    h("blockquote", { class: "user words", dir: "auto" }, parts),
    h(
      "p",
      { class: "muted" },
      top.length ? "Hiding these changes the score most: " : "Hiding any one word hardly changes the score",
      top.flatMap((word, index) => [index ? ", " : "", user(word.word.replace(PUNCTUATION, "")), ` ${signed(-word.occlusion)}`]),
      ". ",
      keyItem("for", "the score falls while the word is hidden"),
      " ",
      keyItem("against", "it rises"),
    ),
    doubt(
      item.word_faithfulness,
      "occlusion",
      "Do not rely on these colors: hiding the words that they mark moved the score no more than hiding words at random.",
    ),
    item.naming === null ? null : h("p", { class: "muted" }, naming(item)),
  );
}

function naming({ label, naming: { num_mentions: count, drop, drop_of_bonus: bonus } }) {
  return [
    "The description names ",
    user(label),
    ` ${count === 1 ? "once" : `${count} times`}. Without the name the score changes by ${signed(-drop)}; the model's learned bonus for a named label alone makes ${signed(-bonus)} of it.`,
  ];
}

// --- Counterfactuals ---

function counterfactualSection(item, explanation, numbers) {
  const { counterfactuals, scores } = explanation;
  if (!counterfactuals.length) return null;
  return h(
    "section",
    {},
    h("h4", {}, "If one thing were different"),
    h(
      "table",
      { class: "ifs" },
      h("caption", { class: "muted" }, "Score of ", labelName(item.label)),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "With"),
          h("th", { scope: "col", class: "number" }, "Score"),
          h("th", { scope: "col", class: "number" }, "Change"),
          h("th", { scope: "col" }, "Highest then"),
        ),
      ),
      h(
        "tbody",
        {},
        h("tr", { class: "base" }, h("th", { scope: "row" }, "everything as it is"), h("td", { class: "number" }, score(scores[item.label])), h("td", {}), h("td", {}, labelName(ranked(scores)[0][0]))),
        counterfactuals.map((found) => counterfactualRow(found, item.label, scores, numbers)),
      ),
    ),
  );
}

function counterfactualRow(found, label, base, numbers) {
  // The service counts the people of the request from 0.
  const what = found.what.replace(/person (\d+)$/, (_, index) => `person ${numbers[index] ?? index}`);
  const name = h("th", { scope: "row" }, user(what));
  if (found.error !== null) return h("tr", {}, name, h("td", { colspan: 3, class: "wrong" }, user(sentence(found.error))));
  const change = found.scores[label] - base[label];
  const kind = Math.abs(change) < SHOWN_CHANGE ? "" : change < 0 ? " less" : " more";
  return h(
    "tr",
    {},
    name,
    h("td", { class: "number" }, score(found.scores[label])),
    h("td", { class: `number${kind}` }, signed(change)),
    h("td", {}, labelName(ranked(found.scores)[0][0])),
  );
}
