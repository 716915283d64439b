// The images nearest to the last classified image, by features.
import { $, pngFile, send, tile, tiles, work } from "./parts.js";

const AGAIN_MS = 500; // polling interval while features are computed
const LISTS = ["training", "synthetic"];
const DIGITS = 4;
let finding = null; // the last classification

export function neighboursOf(found, values) {
  finding = found;
  for (const id of LISTS) {
    $(`${id}-text`).textContent = "";
    tiles($(id), []);
  }
  const image = pngFile(finding.image, finding.name); // resized as for the classifier, so that little is sent
  work("neighbours", "Searching for the nearest images …", (state, wanted) => answered(values, image, state, wanted), showNeighbours);
}

// Waits for features that are not computed yet; the page can be used meanwhile.
async function answered(values, image, state, wanted) {
  for (;;) {
    const answer = await send("/api/neighbours", values, image);
    if (!answer.making || !wanted()) return answer;
    const { done, total } = answer.making;
    const text = `Computing features (once): ${done} of ${total} images.`;
    if (state.textContent !== text) state.textContent = text;
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    if (!wanted()) return answer;
  }
}

function showNeighbours(found) {
  const { arm, fold } = finding;
  if (found.why) {
    $("neighbours-state").textContent = `Features are not available: ${found.why}.`;
    return;
  }
  const how = `by features: cosine distance, 0 (same direction) to 2, of the features of ${found.extractor}`;
  const whose = { training: `images of fold ${fold}'s training part`, synthetic: `synthetic images of ${arm} in fold ${fold}` };
  for (const id of LISTS) {
    const images = found[id];
    $(`${id}-text`).textContent = images ? `The nearest ${whose[id]}, ${how}.` : `${arm} has no synthetic images.`;
    const items = (images ?? []).map((n) =>
      tile(n.image, `${n.class}, ${n.name}`, [n.class, n.distance.toFixed(DIGITS), n.name, n.source && `from ${n.source}`]),
    );
    tiles($(id), items);
  }
}
