// The page of `bench serve`. Plain scripts: texts are set by textContent, images are blobs of this page.
import { neighboursOf } from "./neighbours.js";
import { $, ask, download, fill, send, show, tile, tiles, work } from "./parts.js";

let offered = null; // choices of the selected run

const unique = (values) => [...new Set(values)];
const same = (values) => unique(values).map((v) => [v, v]);
const percent = (p) => `${(100 * p).toFixed(1)} %`;

const classifiers = () => offered.classifiers.filter((c) => c.classifier === $("classifier").value);
const arms = () => classifiers().filter((c) => c.arm === $("arm").value);
const generators = () => offered.generators.filter((g) => g.method === $("method").value);
const classifier = () => arms().find((c) => c.fold === $("fold").value);
const generator = () => generators().find((g) => g.fold === $("gfold").value);

function choices() {
  fill($("classifier"), same(offered.classifiers.map((c) => c.classifier)));
  fill($("arm"), same(classifiers().map((c) => c.arm)));
  fill($("fold"), same(arms().map((c) => c.fold)));
  segmentationNetworks();
  fill($("method"), same(offered.generators.map((g) => g.method)));
  fill($("gfold"), same(generators().map((g) => g.fold)));
  $("translate").hidden = !generator()?.translates;
}

// The networks of the classifier's fold, the best of its arm first; the choice is kept until the classifier changes.
function segmentationNetworks() {
  const select = $("segmentation-network");
  const found = (classifier()?.segmentation_networks ?? []).map((place) => offered.segmentation_networks[place]);
  $("segmentation-network-choice").hidden = !found.length;
  const before = select.dataset.classifier === classifier()?.key ? select.value : found[0]?.key;
  fill(select, found.map((s) => [s.key, scored(s)]));
  if (found.some((s) => s.key === before)) select.value = before;
  select.dataset.classifier = classifier()?.key ?? "";
}

const scored = ({ network, validation_dice }) => (validation_dice === null ? network : `${network} (${percent(validation_dice)})`);

async function chooseRun() {
  $("problem").hidden = true;
  try {
    offered = await ask("/api/run", { run: $("run").value });
  } catch (error) {
    $("problem").textContent = error.message;
    $("problem").hidden = false;
    return;
  }
  const classes = offered.classes.map((name, i) => [String(i), name]);
  fill($("label"), classes);
  fill($("from"), classes.slice(0, 2));
  choices();
  $("file").disabled = !offered.classifiers.length;
  if (!offered.classifiers.length) $("classify-state").textContent = "This run has no trained classifier yet.";
  for (const id of ["generate", "translate"]) if (!offered.generators.length) $(id).hidden = true;
  $("generate").hidden = !offered.generators.length;
  $("no-generator").hidden = offered.generators.length > 0;
}

function classify() {
  const file = $("file").files[0];
  if (!file || !classifier()) return;
  const values = { run: $("run").value, cell: classifier().key };
  const asked = { ...values };
  if ($("segmentation-network").value) values.segmentation_network = $("segmentation-network").value;
  work("classify", `Classifying ${file.name} …`, async () => send("/api/classify", values, file), (found) => {
    showFinding(found);
    neighboursOf(found, asked);
  });
}

function showFinding(found) {
  const best = found.classes[found.predicted];
  show($("image"), found.image, `${found.name}, as used by the classifier`);
  $("seen-text").textContent = `${found.name}: ${found.size_px.join(" × ")} px, resized to ${offered.image_size_px} px`;
  $("verdict").textContent = `${best.name}, ${percent(best.probability)}`;
  $("classes").replaceChildren(...found.classes.map((c) => row(c, c === best)));
  $("calibration").textContent = calibrationText(found.calibration);
  $("known").hidden = !found.known;
  if (found.known) $("known").textContent = knownText(found.known, found.fold);
  $("notes").replaceChildren(...found.notes.map((note) => Object.assign(document.createElement("li"), { textContent: `Note: ${note}.` })));
  showLayers(found);
  $("classified").hidden = false;
  $("verdict").focus({ preventScroll: true });
}

function row(c, best) {
  const line = document.createElement("tr");
  const name = Object.assign(document.createElement("th"), { scope: "row", textContent: c.name });
  const meter = Object.assign(document.createElement("meter"), { min: 0, max: 1, value: c.probability });
  meter.setAttribute("aria-hidden", "true");
  const cells = [percent(c.probability), meter, percent(c.uncalibrated)].map((content) => {
    const cell = document.createElement("td");
    cell.append(content);
    return cell;
  });
  line.append(name, ...cells);
  if (best) line.className = "best";
  return line;
}

function calibrationText({ temperature, validation_images, test_ece }) {
  const errors = test_ece ? ` Calibration error on the test images: ${test_ece.map((e) => e.toFixed(3)).join(" before, ")} after.` : "";
  const how =
    temperature === 1
      ? `No temperature could be fitted on the ${validation_images} validation images (all are classified correctly, or no value is better): probabilities are not calibrated.`
      : `Temperature ${temperature.toFixed(2)}, fitted on ${validation_images} validation images.`;
  return how + errors;
}

function knownText(known, fold) {
  const where = known.part === "no" ? "in no part" : `in the ${known.part} part`;
  const warning = known.part === "test" || known.part === "no" ? "" : " The classifier was trained or selected with this image: its confidence is not meaningful.";
  return `This file is image ${known.path} (${known.class}) of the run, ${where} of fold ${fold}.${warning}`;
}

let layerTexts = {};

function showLayers(found) {
  const { explanation, segmentation } = found;
  const looked = segmentation?.explanation;
  layerTexts = {
    overlay: mapText(explanation, found.classes[found.predicted].name),
    looks: looked ? mapText(looked, `the pixels segmented by ${segmentation.network}`) : "",
    mask: segmentation
      ? `Segmentation: ${percent(segmentation.share)} of the image, by ${scored(segmentation)}, trained with ${segmentation.learnt_from === "true" ? "true masks" : `a ${segmentation.learnt_from}`}.`
      : "",
    none: "",
  };
  layer("overlay", explanation.overlay, "Grad-CAM overlay");
  layer("mask", segmentation?.overlay, "Segmentation overlay");
  layer("looks", looked?.overlay, "Grad-CAM overlay of the segmentation");
  for (const id of ["mask", "looks"]) {
    $(`${id}-choice`).disabled = !segmentation;
    if (!segmentation && $(`${id}-choice`).checked) document.querySelector("[name=layer][value=overlay]").checked = true;
  }
  chooseLayer();
}

function mapText({ overlay, layer, grid, why }, whatFor) {
  const because = why ? ` ${why}.` : "";
  if (!overlay) return `No Grad-CAM:${because}`;
  return `Evidence for ${whatFor}; brighter means more (layer ${layer}, ${grid.join(" × ")} cells).${because} Qualitative: it shows where the network finds evidence, not whether this is correct.`;
}

function layer(id, base64, alt) {
  if (base64) show($(id), base64, alt);
  else $(id).removeAttribute("src");
}

function chooseLayer() {
  const chosen = document.querySelector("[name=layer]:checked").value;
  for (const id of ["overlay", "mask", "looks"]) {
    $(id).hidden = chosen !== id || !$(id).hasAttribute("src");
    $(id).style.opacity = $("strength").value / 100;
  }
  $("layer-text").textContent = layerTexts[chosen];
}

function draw(event) {
  event.preventDefault();
  const values = { run: $("run").value, cell: generator().key };
  for (const id of ["label", "count", "seed"]) values[id] = $(id).value;
  work("draw", "Generating …", () => ask("/api/draw", values), (found) => {
    const name = `${found.class} by ${found.method}, fold ${found.fold}`;
    tiles($("drawn-images"), found.images.map((m, i) => tile(m.image, `${name}, image ${i + 1}`, [m.source && `from ${m.source}`])));
    $("zip").onclick = (clicked) => {
      clicked.preventDefault();
      const file = `drawn-${values.cell}-seed${values.seed}.zip`;
      work("draw", "Packing …", () => download("/api/drawn.zip", values, file), () => {});
    };
    $("drawn").hidden = false;
    $("draw-state").textContent = `${found.images.length} images: ${name}, seed ${found.seed}.`;
  });
}

function translate() {
  const file = $("tfile").files[0];
  if (!file || !generator()) return;
  const values = { run: $("run").value, cell: generator().key, label: $("from").value };
  work("translate", `Translating ${file.name} …`, async () => send("/api/translate", values, file), (found) => {
    const items = [
      [found.image, found.name, `as ${found.from}`],
      [found.translated, "translated", `${found.from} to ${found.to}, by ${found.method}, fold ${found.fold}`],
      [found.back, "reconstruction", `${found.to} to ${found.from}`],
    ];
    tiles($("translated"), items.map(([image, ...lines]) => tile(image, lines.join(", "), lines)));
  });
}

for (const place of document.querySelectorAll("[data-drop]")) {
  const input = place.querySelector("input");
  place.addEventListener("dragover", (event) => {
    event.preventDefault();
    place.classList.add("over");
  });
  place.addEventListener("dragleave", () => place.classList.remove("over"));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("over");
    if (!event.dataTransfer.files.length || input.disabled) return;
    input.files = event.dataTransfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });
}

$("run").addEventListener("change", chooseRun);
$("classify").addEventListener("change", () => {
  choices();
  classify();
});
$("classify").addEventListener("submit", (event) => event.preventDefault());
$("generate").addEventListener("change", choices);
$("generate").addEventListener("submit", draw);
$("translate").addEventListener("change", translate);
$("translate").addEventListener("submit", (event) => event.preventDefault());
for (const input of document.querySelectorAll("[name=layer]")) input.addEventListener("change", chooseLayer);
$("layers").addEventListener("input", chooseLayer);

try {
  const { notice, runs } = await ask("/api/runs", {}, { method: "GET" });
  $("notice").textContent = notice;
  fill($("run"), same(runs));
  await chooseRun();
} catch (error) {
  $("problem").textContent = error.message;
  $("problem").hidden = false;
}
