// Functions shared by the parts of the page: images as blobs, requests to the server, state lines.
const MAX_BYTES = 20 * 2 ** 20;
const turn = {}; // number of the newest request of each kind: older responses are not shown
const $ = (id) => document.getElementById(id);

function fill(select, values) {
  const before = select.value;
  select.replaceChildren(...values.map(([value, text]) => new Option(text, value)));
  if (values.some(([value]) => value === before)) select.value = before;
}

function pngFile(base64, name) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  return new File([bytes], name, { type: "image/png" });
}

function show(image, base64, alt) {
  if (image.src) URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(pngFile(base64, ""));
  image.alt = alt;
}

function tile(base64, alt, lines) {
  const item = document.createElement("li");
  const image = document.createElement("img");
  show(image, base64, alt);
  item.append(image);
  for (const line of lines.filter(Boolean)) {
    const text = document.createElement("span");
    text.textContent = line;
    item.append(text);
  }
  return item;
}

function tiles(list, items) {
  for (const image of list.querySelectorAll("img")) URL.revokeObjectURL(image.src);
  list.replaceChildren(...items);
}

const TOKEN = document.querySelector("meta[name=token]").content; // needed for expensive requests

async function answerOf(path, values, options = {}) {
  let answer;
  try {
    const headers = { "x-bench-token": TOKEN };
    answer = await fetch(`${path}?${new URLSearchParams(values)}`, { method: "POST", headers, ...options });
  } catch {
    throw new Error("The server does not respond; is bench serve still running?");
  }
  if (!answer.ok) throw new Error((await answer.json()).error);
  return answer;
}

async function ask(path, values, options = {}) {
  return (await answerOf(path, values, options)).json();
}

// Download the response of the server as a file of that name.
async function download(path, values, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await (await answerOf(path, values)).blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// Send a file as the body. Too large files are refused here; the server would close the connection without a message.
function send(path, values, file) {
  if (file.size > MAX_BYTES) throw new Error(`${file.name} has ${Math.ceil(file.size / 2 ** 20)} MB; the maximum is 20 MB.`);
  return ask(path, { ...values, name: file.name }, { body: file });
}

// Send a request and show the response; errors are shown in the state line. A request with several steps gets that
// line, and a function that tells whether it is still the newest.
async function work(kind, busy, question, shown) {
  const state = $(`${kind}-state`);
  const mine = (turn[kind] = (turn[kind] ?? 0) + 1);
  state.className = "state";
  state.textContent = busy;
  try {
    const answer = await question(state, () => mine === turn[kind]);
    if (mine !== turn[kind]) return;
    state.textContent = "";
    shown(answer);
  } catch (error) {
    if (mine !== turn[kind]) return;
    state.className = "state wrong";
    state.textContent = error.message;
  }
}

export { $, ask, download, fill, pngFile, send, show, tile, tiles, work };
