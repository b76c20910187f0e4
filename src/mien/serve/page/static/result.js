/** What was read of one person: labels with their uncertainty, words, valence, arousal and dominance. */

import { h, keyItem, labelName, percent, score, user } from "./dom.js";

const SHOWN = 6; // labels, before one asks for all
const NAMED = 2; // labels in a list of people
const CONCLUDED = 3; // labels in the conclusion
const SCALES = {
  valence: ["unpleasant", "pleasant"],
  arousal: ["calm", "excited"],
  dominance: ["not in control", "in control"],
};
const FOUND = {
  detected: "found by the detector",
  face: "found by the face",
  given: "in your box",
  whole: "the whole photo",
};
const STATUSES = { truncated: "The description was cut at the longest length." };

/** The labels of a person with their scores, highest first. */
export function ranked(scores) {
  return Object.entries(scores).sort((a, b) => b[1] - a[1]);
}

/** What is said of a person in a few words, for lists and screen readers. */
export function headline(result, isExclusive) {
  const [[best]] = ranked(result.scores);
  if (result.sure === false) return "not sure";
  if (result.sure === null || isExclusive || !result.above?.length) return best;
  const reached = ranked(result.scores).filter(([label]) => result.above.includes(label));
  const named = reached.slice(0, NAMED).map(([label]) => label);
  return named.join(", ") + (reached.length > NAMED ? ` and ${reached.length - NAMED} more` : "");
}

/** `answer`: of the service, for thresholds; `showAll` and `onShowAll` are about the labels. */
export function resultView(result, answer, { isExclusive, showAll, onShowAll }) {
  return [
    h("p", { class: "muted found" }, foundText(result)),
    conclusion(result, answer, isExclusive),
    words(result),
    labelTable(result, answer, { isExclusive, showAll, onShowAll }),
    predictionSet(result, isExclusive),
    dimensions(result),
  ];
}

function foundText(result) {
  const how = FOUND[result.box_source] ?? result.box_source;
  const certainty = result.box_score === null ? "" : `, which is ${result.box_score > 0.99 ? "over 99 %" : percent(result.box_score)} sure that it is a person`;
  return `${how.charAt(0).toUpperCase()}${how.slice(1)}${certainty}.`;
}

// --- The conclusion ---

function conclusion(result, answer, isExclusive) {
  const [[best, highest]] = ranked(result.scores);
  if (result.sure === null) {
    return h(
      "div",
      { class: "conclusion" },
      h("p", { class: "says" }, "Appears closest to ", h("strong", {}, labelName(best))),
      h("p", { class: "muted" }, "The scores are not calibrated: they rank the labels, but are not probabilities, and do not say how sure the model is."),
    );
  }
  if (result.sure === false) {
    const limit = answer.min_confidence;
    const why =
      limit !== null && highest < limit
        ? `The highest score is ${score(highest)}. The model is sure only from ${score(limit)} on.`
        : "No label reaches its threshold.";
    return h(
      "div",
      { class: "conclusion unsure" },
      h("p", { class: "says" }, h("strong", {}, "Not sure")),
      h("p", { class: "muted" }, why, " Closest: ", labelName(best), "."),
    );
  }
  const reached = isExclusive ? [] : ranked(result.scores).filter(([label]) => result.above?.includes(label));
  const shown = reached.length ? reached.slice(0, CONCLUDED) : [[best, highest]];
  const more = reached.length - shown.length;
  return h(
    "div",
    { class: "conclusion" },
    h("p", { class: "says" }, "Appears to feel"),
    h(
      "ul",
      { class: "strongest" },
      shown.map(([label, value]) =>
        h(
          "li",
          {},
          h("strong", {}, labelName(label)),
          h("span", { class: "track", "aria-hidden": "true" }, h("span", { class: "value full", style: { width: percentWidth(value) } })),
          h("span", { class: "number" }, score(value)),
        ),
      ),
    ),
    more > 0 ? h("p", { class: "muted" }, `and ${more} more above ${more === 1 ? "its threshold" : "their thresholds"}`) : null,
  );
}

// --- Words ---

function words(result) {
  if (result.description === null) return null;
  const note = STATUSES[result.status];
  return h(
    "section",
    {},
    h("h3", {}, "In words"),
    h("blockquote", { class: "user", dir: "auto" }, result.description),
    h("p", { class: "muted" }, "Written by a vision-language model. It can be wrong, also where it sounds certain.", note ? ` ${note}` : ""),
  );
}

// --- Labels ---

function labelTable(result, answer, { isExclusive, showAll, onShowAll }) {
  const all = ranked(result.scores);
  const above = new Set(result.above ?? []);
  const verdict = result.prediction_set === null ? null : verdictOf(result, isExclusive);
  const rows = showAll ? all : all.filter(([label], rank) => rank < SHOWN || above.has(label));
  const { thresholds } = answer;
  return h(
    "section",
    {},
    h("h3", {}, "Labels"),
    h(
      "table",
      { class: "labels" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "Label"),
          h("th", { scope: "col", class: "drawn" }, h("span", { class: "visually-hidden" }, "Bar and threshold")),
          h("th", { scope: "col", class: "number" }, "Score"),
          verdict ? h("th", { scope: "col", class: "verdict" }, "Appears so?") : null,
        ),
      ),
      h("tbody", {}, rows.map(([label, value]) => labelRow(label, value, thresholds?.[label] ?? null, above, verdict))),
    ),
    thresholds
      ? h("p", { class: "muted key" }, keyItem("full", "reaches its threshold"), " ", keyItem("", "does not"), " ", keyItem("tick", "threshold"), verdict ? "Maybe: not ruled out." : null)
      : null,
    all.length > rows.length || showAll
      ? h(
          "button",
          { type: "button", class: "quiet", "aria-expanded": String(showAll), "data-key": "all-labels", on: { click: onShowAll } },
          showAll ? "Show fewer labels" : `Show all ${all.length} labels`,
        )
      : null,
  );
}

/** Whether a label appears to hold, in one word: "maybe" is neither said nor ruled out. */
function verdictOf(result, isExclusive) {
  const inSet = new Set(result.prediction_set);
  const said = new Set(isExclusive ? [ranked(result.scores)[0][0]] : result.above);
  return (label) => {
    if (said.has(label)) return result.sure === false ? "maybe" : "yes";
    return inSet.has(label) ? "maybe" : "no";
  };
}

function labelRow(label, value, threshold, above, verdict) {
  const reaches = above.has(label);
  const said = threshold === null ? "" : `${reaches ? "reaches" : "below"} its threshold, ${score(threshold)}`;
  return h(
    "tr",
    { class: reaches ? "above" : null },
    h("th", { scope: "row" }, labelName(label)),
    h(
      "td",
      { class: "drawn" },
      h("span", { class: "visually-hidden" }, said),
      h(
        "span",
        { class: "track", "aria-hidden": "true" },
        h("span", { class: `value${threshold === null || reaches ? " full" : ""}`, style: { width: percentWidth(value) } }),
        threshold === null ? null : h("span", { class: "threshold", style: { left: percentWidth(threshold) } }),
      ),
    ),
    h("td", { class: "number" }, score(value)),
    verdict ? h("td", { class: `verdict ${verdict(label)}` }, verdict(label)) : null,
  );
}

const percentWidth = (value) => `${Math.min(100, Math.max(0, 100 * value))}%`;

function predictionSet(result, isExclusive) {
  if (result.prediction_set === null) return null;
  const all = ranked(result.scores).map(([label]) => label);
  const inside = all.filter((label) => result.prediction_set.includes(label));
  const outside = all.filter((label) => !result.prediction_set.includes(label));
  const isShorter = outside.length < inside.length;
  return h(
    "section",
    {},
    h("h3", {}, "What is not ruled out"),
    h(
      "p",
      {},
      outside.length === 0
        ? "No label is ruled out."
        : [isShorter ? "All but " : "", names(isShorter ? outside : inside), ` (${inside.length} of ${all.length} labels).`],
    ),
    h(
      "p",
      { class: "muted" },
      `Prediction set with ${percent(result.coverage)} coverage. ${isExclusive ? "At least that share of people have their label in their set" : "Of the people who have a label, at least that share have it in their set"}, if photos and annotators are like those of the validation data. Otherwise nothing is promised.`,
    ),
  );
}

function names(labels) {
  return labels.flatMap((label, index) => [index ? ", " : "", labelName(label)]);
}

// --- Dimensions ---

function dimensions(result) {
  if (result.dimensions === null) return null;
  const rows = Object.entries(result.dimensions).map(([name, value]) => {
    const [low, high] = SCALES[name] ?? ["low", "high"];
    const bounded = result.bounded.includes(name) ? ", at the end of the scale" : "";
    return h(
      "div",
      { class: "dimension" },
      h("dt", {}, user(`${name.charAt(0).toUpperCase()}${name.slice(1)}`)),
      h(
        "dd",
        {},
        h("span", { class: "figure" }, `${(10 * value).toFixed(1)} of 10${bounded}`),
        h("span", { class: "visually-hidden" }, `, from ${low} to ${high}`),
        h(
          "span",
          { "aria-hidden": "true" },
          h("span", { class: "track" }, h("span", { class: "mark", style: { left: percentWidth(value) } })),
          h("span", { class: "ends muted" }, h("span", {}, low), h("span", {}, high)),
        ),
      ),
    );
  });
  return h("section", {}, h("h3", {}, "Valence, arousal and dominance"), h("dl", { class: "dimensions" }, rows));
}
