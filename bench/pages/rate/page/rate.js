// Shows one image at a time; every complete answer is sent to the server at once, with retries until it is saved.
"use strict";

const RETRY_MS = 1000;
const $ = (id) => document.getElementById(id);
const study = { rater: "", images: [], saved: {} }; // saved: image -> answer on the server
let at = 0; // index of the shown image; images.length: the end
let shownAt = 0; // time in ms when it was shown
let saving = Promise.resolve();
let unsaved = 0;

async function post(path, data) {
  const reply = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(data),
  });
  const found = await reply.json();
  if (!reply.ok) throw Object.assign(new Error(found.error), { refused: true });
  return found;
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

function say(text, problem = false) {
  $("status").textContent = text;
  $("status").classList.toggle("problem", problem);
}

$("who").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const found = await post("api/start", { rater: $("rater").value });
    Object.assign(study, { rater: found.rater, images: found.images, saved: found.answers });
  } catch (error) {
    $("start-problem").textContent = error.refused ? error.message : "The server does not respond. Try again in a moment.";
    return;
  }
  $("welcome").hidden = true;
  const first = study.images.findIndex((id) => !(id in study.saved));
  show(first < 0 ? study.images.length : first);
  $("rating").focus();
});

function show(place) {
  at = place;
  const over = at >= study.images.length;
  $("rating").hidden = over;
  $("end").hidden = !over;
  if (over) {
    $("end-title").focus();
    return;
  }
  const total = study.images.length;
  $("place").textContent = `Image ${at + 1} of ${total}`;
  $("bar").max = total;
  $("bar").value = Object.keys(study.saved).length;
  $("back").disabled = at === 0;
  $("answer").reset();
  say("");
  const known = study.saved[study.images[at]];
  if (known) {
    choose("real", String(known.real));
    choose("quality", String(known.quality));
  }
  load(study.images[at]);
}

function load(id) {
  const image = $("image");
  shownAt = 0;
  image.style.visibility = "hidden"; // hide the previous image while the new one loads
  image.onload = () => {
    image.style.visibility = "visible";
    shownAt = performance.now();
  };
  image.onerror = async () => {
    say("The image could not be loaded. Trying again …", true);
    await pause(RETRY_MS);
    if (study.images[at] === id && shownAt === 0) load(id);
  };
  image.alt = `Image ${at + 1} of ${study.images.length}`;
  image.src = `image/${id}`;
}

function choose(name, value) {
  document.querySelector(`input[name="${name}"][value="${value}"]`).checked = true;
}

function given() {
  const form = new FormData($("answer"));
  const real = form.get("real");
  const quality = form.get("quality");
  return real === null || quality === null ? null : { real: real === "true", quality: Number(quality) };
}

function changed() {
  if (!shownAt) {
    $("answer").reset(); // the image is not visible yet
    return;
  }
  const answer = given();
  if (!answer) return;
  const id = study.images[at];
  const seconds = (performance.now() - shownAt) / 1000;
  unsaved += 1;
  say("Saving …");
  saving = saving.then(() => save(id, { ...answer, seconds }));
}

async function save(id, answer) {
  const known = study.saved[id];
  const same = known && known.real === answer.real && known.quality === answer.quality;
  while (!same) {
    try {
      await post("api/answer", { rater: study.rater, image: id, ...answer });
      study.saved[id] = answer;
      break;
    } catch (error) {
      if (error.refused) {
        unsaved -= 1;
        say(`Not saved: ${error.message}`, true);
        return;
      }
      say("Not saved yet: the server does not respond. Trying again …", true);
      await pause(RETRY_MS);
    }
  }
  unsaved -= 1;
  $("bar").value = Object.keys(study.saved).length;
  if (!unsaved) say("Saved.");
}

let moving = false;
async function next() {
  if (moving) return;
  const answer = given();
  if (!answer) {
    const form = new FormData($("answer"));
    const missing = [form.get("real") === null && "real or fake", form.get("quality") === null && "quality"];
    say(`Please answer first: ${missing.filter(Boolean).join(", and ")}.`, true);
    return;
  }
  moving = true;
  await saving; // wait until the server responds
  moving = false;
  if (study.images[at] in study.saved) show(at + 1);
}

function back() {
  if (at > 0 && !moving) show(at - 1);
}

$("answer").addEventListener("change", changed);
$("answer").addEventListener("submit", (event) => {
  event.preventDefault();
  next();
});
$("back").addEventListener("click", back);
document.addEventListener("click", (event) => {
  if (event.detail && document.activeElement !== $("rater")) document.activeElement.blur(); // keys mean answers again
});

document.addEventListener("keydown", (event) => {
  if (!$("welcome").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  if (key === "backspace") {
    event.preventDefault();
    back();
    return;
  }
  if ($("rating").hidden) return;
  const name = { r: "real", f: "real" }[key] || (/^[0-5]$/.test(key) ? "quality" : "");
  if (name && !moving) {
    choose(name, name === "real" ? String(key === "r") : key);
    changed();
  } else if ((key === "enter" || key === " ") && !event.repeat) {
    if (document.activeElement.matches("button, fieldset input:not(:checked)")) return; // the browser's own meaning
    event.preventDefault();
    next();
  }
});

addEventListener("beforeunload", (event) => {
  if (unsaved) event.preventDefault();
});
