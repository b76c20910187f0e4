/** A map of importance, drawn over the photo in gray; the colors and the shades are those of `mien explain`. */

import { h } from "./dom.js";

const SIDE = 480; // pixels of the longer side
const OPACITY = 0.78; // of the strongest color
const FADE = 0.45; // of the photo towards white
const FOR = [213, 94, 0]; // Okabe and Ito's orange
const AGAINST = [0, 114, 178]; // and blue

/** `values`: rows of cells; `box` in pixels of the photo, or null. Without an image, the map is drawn on gray. */
export function drawHeatMap(image, { width, height }, values, box, description) {
  const scale = SIDE / Math.max(width, height);
  const size = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  const canvas = h("canvas", { width: size[0], height: size[1], role: "img", "aria-label": description });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#bbb";
  context.fillRect(0, 0, ...size);
  if (image !== null) context.drawImage(image, 0, 0, ...size);
  const pixels = context.getImageData(0, 0, ...size);
  paint(pixels, values);
  context.putImageData(pixels, 0, 0);
  if (box !== null) outline(context, box.map((edge) => edge * scale));
  return canvas;
}

/** Where a map is strongest, in words. */
export function strongestPlace(values) {
  let [strongest, row, column] = [0, 0, 0];
  values.forEach((cells, y) =>
    cells.forEach((value, x) => {
      if (Math.abs(value) > Math.abs(strongest)) [strongest, row, column] = [value, y, x];
    }),
  );
  const third = (index, count) => Math.min(2, Math.floor((3 * (index + 0.5)) / count));
  const places = [["top", "middle", "bottom"][third(row, values.length)], ["left", "center", "right"][third(column, values[0].length)]];
  return { value: strongest, place: places.filter((word) => word !== "middle").join(" ") };
}

function paint({ data, width, height }, values) {
  const largest = Math.max(...values.flat().map(Math.abs));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = 4 * (y * width + x);
      const gray = 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2];
      const pale = 255 - (255 - gray) * (1 - FADE);
      const strength = largest > 0 ? valueAt(values, (x + 0.5) / width, (y + 0.5) / height) / largest : 0;
      const opacity = OPACITY * Math.abs(strength);
      const color = strength >= 0 ? FOR : AGAINST;
      for (let channel = 0; channel < 3; channel++) data[at + channel] = pale * (1 - opacity) + color[channel] * opacity;
    }
  }
}

/** Smooth between the middles of cells; x and y are from 0 to 1. */
function valueAt(values, x, y) {
  const [rows, columns] = [values.length, values[0].length];
  const column = Math.min(Math.max(x * columns - 0.5, 0), columns - 1);
  const row = Math.min(Math.max(y * rows - 0.5, 0), rows - 1);
  const [left, top] = [Math.floor(column), Math.floor(row)];
  const [right, bottom] = [Math.min(left + 1, columns - 1), Math.min(top + 1, rows - 1)];
  const [shareX, shareY] = [column - left, row - top];
  const upper = values[top][left] * (1 - shareX) + values[top][right] * shareX;
  const lower = values[bottom][left] * (1 - shareX) + values[bottom][right] * shareX;
  return upper * (1 - shareY) + lower * shareY;
}

function outline(context, [left, top, right, bottom]) {
  const [width, height] = [right - left, bottom - top];
  context.lineWidth = 4;
  context.strokeStyle = "#fff";
  context.strokeRect(left, top, width, height);
  context.lineWidth = 2;
  context.strokeStyle = "#1a1a1a";
  context.strokeRect(left, top, width, height);
}
