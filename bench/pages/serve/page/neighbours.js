// The nearest images of the image that was classified last, by features or by colours and rough shape.
import { $, pngFile, send, tile, tiles, work } from "./parts.js";

const AGAIN_MS = 500; // until the server is asked again whether its features are made
const LISTS = ["training", "synthetic"];
const HOW = {
  features: ({ extractor }) => `by features: cosine distance, 0 (alike) to 2, of what the network ${extractor} sees in them`,
  pixels: () => "by colours and rough shape: root mean square difference at 32 × 32 px, of 255",
};
const DIGITS = { features: 4, pixels: 1 };
let finding = null; // what was found in the image
let asked = null; // of which run and classifier

export function neighboursOf(found, values) {
  finding = found;
  asked = values;
  askNeighbours();
}

export function askNeighbours() {
  if (!finding) return;
  for (const id of LISTS) {
    $(`${id}-text`).textContent = "";
    tiles($(id), []);
  }
  const values = { ...asked, by: document.querySelector("[name=by]:checked").value };
  const image = pngFile(finding.image, finding.name); // as the classifier got it: small, however large the file is
  work("neighbours", "Looking for the nearest images …", (state, wanted) => answered(values, image, state, wanted), showNeighbours);
}

// Features that are not made yet are waited for; the page goes on meanwhile.
async function answered(values, image, state, wanted) {
  for (;;) {
    const answer = await send("/api/neighbours", values, image);
    if (!answer.making || !wanted()) return answer;
    const { done, total } = answer.making;
    const text = `Making features, once: ${done} of ${total} images. Meanwhile choose “by colours and rough shape”, or go on.`;
    if (state.textContent !== text) state.textContent = text;
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    if (!wanted()) return answer;
  }
}

function showNeighbours(found) {
  const { arm, fold } = finding;
  if (found.why) $("neighbours-state").textContent = `Not by features: ${found.why}. By colours and rough shape instead.`;
  const whose = { training: `of fold ${fold}'s training part`, synthetic: `that ${arm} added in fold ${fold}` };
  for (const id of LISTS) {
    const images = found[id];
    $(`${id}-text`).textContent = images ? `The nearest ${whose[id]}, ${HOW[found.by](found)}.` : `${arm} adds no synthetic images.`;
    const digits = DIGITS[found.by];
    const items = (images ?? []).map((n) =>
      tile(n.image, `${n.class}, ${n.name}`, [n.class, n.distance.toFixed(digits), n.name, n.source && `from ${n.source}`]),
    );
    tiles($(id), items);
  }
}
