"use strict";

const WORDS = {
  en: {
    skip: "Skip to the labels", model: "Model", language: "Language", photo: "Photo", labels: "Labels",
    invite: "Drop a photo here", ways: "or paste one, or choose it below",
    inviteTouch: "Show a photo", waysTouch: "choose one, or take it with the camera", choose: "Choose photos",
    shoot: "Take a photo", shutter: "Take it", cancel: "Cancel", earlier: "Photos so far", release: "Drop it",
    hint: "The labels of your photo appear here, the most likely first.",
    unseen: "The browser cannot show this format", round: "Answer", inside: "In the server", queue: "Waiting",
    privacy: "Photos go to this server and nowhere else; it does not store them.", programs: "For programs",
    token: "This server asks for a token", tokenField: "Token", enter: "Continue",
    ready: "Ready", away: "The server cannot be reached", ending: "The server is shutting down",
    working: "Looking at the photo", images: n => n === 1 ? "1 photo" : `${n} photos`,
    unknown: "Nothing that the model knows", unknownMore: "These labels come nearest:",
    noPhoto: "This photo has no labels", refused: "The server refused the photo",
    large: size => `It is larger than ${size}.`, full: "Many ask at once. Try again in a moment.",
    late: "The answer took too long. Try again.", failed: "The server failed. Its log says why.",
    noCamera: "No camera can be used here", photoNumber: (n, label) => `Photo ${n}: ${label}`,
    codes: {},
  },
  zh: {
    skip: "跳到识别结果", model: "模型", language: "语言", photo: "照片", labels: "识别结果",
    invite: "把照片拖到这里", ways: "也可以粘贴，或点下面的按钮选择",
    inviteTouch: "给一张照片", waysTouch: "从相册选择，或用相机拍摄", choose: "选择照片",
    shoot: "拍照", shutter: "拍摄", cancel: "取消", earlier: "已识别的照片", release: "松开即可识别",
    hint: "识别结果会显示在这里，最可能的排在最前。",
    unseen: "浏览器无法显示这种格式", round: "总用时", inside: "服务器用时", queue: "排队",
    privacy: "照片只发送到这台服务器，不会被保存。", programs: "给程序使用",
    token: "这台服务器需要访问令牌", tokenField: "令牌", enter: "继续",
    ready: "就绪", away: "无法连接服务器", ending: "服务器正在关闭",
    working: "正在识别", images: n => `${n} 张`,
    unknown: "不是模型认识的类别", unknownMore: "最接近的类别：",
    noPhoto: "无法识别这张照片", refused: "服务器拒绝了这张照片",
    large: size => `文件超过 ${size}。`, full: "请求太多，请稍后再试。",
    late: "识别超时，请重试。", failed: "服务器出错，原因见日志。",
    noCamera: "这里无法使用摄像头", photoNumber: (n, label) => `照片 ${n}：${label}`,
    codes: {
      empty: "文件是空的。", not_an_image: "文件不是图片。", truncated: "图片不完整或已损坏。",
      too_large: "图片太大。", unsupported: "不支持这种图片格式。",
    },
  },
};

const TOP = 5;
const KEPT = 24;
const STATUS_MS = 3000;

const onPhone = matchMedia("(pointer: coarse)").matches;
const $ = id => document.getElementById(id);
const saved = key => { try { return localStorage.getItem(key); } catch { return null; } };
const save = (key, value) => { try { localStorage.setItem(key, value); } catch { /* private windows */ } };

let language = saved("language") || (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
let words = WORDS[language];
let token = "";
let limit = Infinity;
let state = "";
let waiting = null;
const photos = [];
let current = null;

function speak(chosen) {
  language = chosen;
  words = WORDS[chosen];
  document.documentElement.lang = chosen === "zh" ? "zh-CN" : "en";
  for (const node of document.querySelectorAll("[data-text]")) {
    const touch = words[node.dataset.text + "Touch"];
    node.textContent = onPhone && touch ? touch : words[node.dataset.text];
  }
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", words[node.dataset.label]);
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === chosen));
  }
  showState();
  show();
}

const milliseconds = value => new Intl.NumberFormat(language, {maximumFractionDigits: value < 10 ? 1 : 0}).format(value) + " ms";
const percent = score => new Intl.NumberFormat(language, {style: "percent", maximumFractionDigits: score < 0.1 ? 1 : 0}).format(score);
const megabytes = bytes => new Intl.NumberFormat(language, {maximumFractionDigits: 1}).format(bytes / 2 ** 20) + " MiB";

function element(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

async function ask(path, options = {}) {
  const headers = {...options.headers};
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(path, {...options, headers});
  if (response.status === 401 && !$("door").open) $("door").showModal();
  return response;
}

/* One photo: its file, what the server said, and its figures. */

async function label(photo) {
  photo.answer = null;
  photo.problem = null;
  if (photo === current) show();
  const began = performance.now();
  try {
    if (photo.file.size > limit) {
      photo.problem = {title: "refused", more: () => words.large(megabytes(limit))};
      return;
    }
    const query = new URLSearchParams({top: TOP});
    if ($("model").value) query.set("model", $("model").value);
    const type = photo.file.type.startsWith("image/") ? photo.file.type : "application/octet-stream";
    const response = await ask(`/predict?${query}`, {method: "POST", body: photo.file, headers: {"Content-Type": type}});
    const body = await response.json();
    if (response.ok) {
      photo.answer = body;
      photo.round = performance.now() - began;
      photo.inside = Number((response.headers.get("server-timing") || "").split("dur=")[1]) || null;
    } else {
      photo.problem = problem(response.status, body.error);
    }
  } catch {
    photo.problem = {title: "away", more: () => ""};
  } finally {
    if (photo === current) show();
    drawStrip();
  }
}

function problem(status, message) {
  const known = {413: () => words.large(megabytes(limit)), 503: () => words.full, 504: () => words.late, 500: () => words.failed};
  return {title: "refused", more: known[status] || (() => message), waits: status === 401};
}

function add(files) {
  const added = [...files].map(file => ({file, url: URL.createObjectURL(file), answer: null, problem: null}));
  if (!added.length) return;
  photos.unshift(...added);
  for (const old of photos.splice(KEPT)) URL.revokeObjectURL(old.url);
  current = added[0];
  show();
  drawStrip();
  added.forEach(label);
}

/* What is on the screen */

function show() {
  const photo = current;
  $("empty").hidden = Boolean(photo);
  $("shown").hidden = !photo || photo.unseen === true;
  $("unseen").hidden = !photo || photo.unseen !== true;
  if (photo && $("shown").src !== photo.url) $("shown").src = photo.url;
  $("shown").alt = photo ? photo.file.name : "";
  if (photo) $("answer").replaceChildren(...answerOf(photo));
  $("round").textContent = photo && photo.answer ? milliseconds(photo.round) : "–";
  $("inside").textContent = photo && photo.answer && photo.inside ? milliseconds(photo.inside) : "–";
}

function note(title, more, mild) {
  const node = element("div", mild ? "note mild" : "note");
  node.append(element("strong", "", title));
  if (more) node.append(element("span", "", more));
  return node;
}

function answerOf(photo) {
  if (photo.problem) return [note(words[photo.problem.title], photo.problem.more())];
  if (!photo.answer) {
    const busy = element("div", "busy");
    busy.setAttribute("role", "img");
    busy.setAttribute("aria-label", words.working);
    busy.append(element("i"), element("i"), element("i"));
    return [busy];
  }
  const {top, unknown, error} = photo.answer;
  if (error) return [note(words.noPhoto, words.codes[error.code] || error.message)];
  const list = element("ol");
  for (const {label, score} of top) {
    const row = element("li");
    const bar = element("div", "bar");
    const fill = element("i");
    fill.style.setProperty("--score", String(100 * score));
    bar.setAttribute("aria-hidden", "true");
    bar.append(fill);
    row.append(element("span", "label", label), element("span", "score", percent(score)), bar);
    list.append(row);
  }
  return unknown ? [note(words.unknown, words.unknownMore, true), list] : [list];
}

function drawStrip() {
  if (photos.length < 2) return;
  $("strip").replaceChildren(...photos.map((photo, index) => {
    const button = element("button");
    const best = photo.answer && photo.answer.top.length ? photo.answer.top[0].label : "–";
    button.type = "button";
    button.setAttribute("aria-pressed", String(photo === current));
    button.setAttribute("aria-label", words.photoNumber(index + 1, best));
    button.title = best;
    if (photo.unseen) {
      button.textContent = "?";
    } else {
      const image = element("img");
      image.alt = "";
      image.src = photo.url;
      image.addEventListener("error", () => { photo.unseen = true; });
      button.append(image);
    }
    button.addEventListener("click", () => {
      current = photo;
      show();
      drawStrip();
      $("strip").children[index].focus();
    });
    return button;
  }));
}

function showState() {
  $("dot").className = state === "ready" ? "ready" : state ? "away" : "";
  $("state").textContent = state ? words[state] : "";
  $("queue").textContent = waiting === null ? "–" : words.images(waiting);
}

/* What the server says of itself */

async function look() {
  try {
    const response = await ask("/status");
    if (!response.ok) return;
    const status = await response.json();
    limit = status.limits.body_bytes;
    waiting = status.queue.images;
    state = status.ready ? "ready" : "ending";
  } catch {
    state = "away";
    waiting = null;
  }
  showState();
}

async function listModels() {
  const response = await ask("/models");
  if (!response.ok) return;
  const {models} = await response.json();
  const chosen = $("model").value;
  $("model").replaceChildren(...models.map(({name}) => new Option(name, name)));
  if (chosen) $("model").value = chosen;
  $("model-field").hidden = models.length < 2;
}

/* The ways in */

$("choose").addEventListener("click", () => $("file").click());
for (const id of ["file", "snap"]) {
  $(id).addEventListener("change", event => {
    add(event.target.files);
    event.target.value = "";
  });
}
$("shown").addEventListener("error", () => {
  if (!current) return;
  current.unseen = true;
  show();
  drawStrip();
});
$("model").addEventListener("change", () => { if (current) label(current); });
for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => {
    save("language", button.dataset.language);
    speak(button.dataset.language);
    drawStrip();
  });
}

document.addEventListener("paste", event => {
  const files = [...event.clipboardData.files].filter(file => file.type.startsWith("image/"));
  if (files.length) {
    event.preventDefault();
    add(files);
  }
});

let depth = 0;
const holdsFiles = event => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
document.addEventListener("dragenter", event => {
  if (!holdsFiles(event)) return;
  depth += 1;
  $("drop").hidden = false;
});
document.addEventListener("dragleave", event => {
  if (!holdsFiles(event)) return;
  depth -= 1;
  if (depth <= 0) $("drop").hidden = true;
});
document.addEventListener("dragover", event => { if (holdsFiles(event)) event.preventDefault(); });
document.addEventListener("drop", event => {
  if (!holdsFiles(event)) return;
  event.preventDefault();
  depth = 0;
  $("drop").hidden = true;
  add(event.dataTransfer.files);
});

/* The camera: the phone's own, or a stream in the page */

function endCamera() {
  const stream = $("video").srcObject;
  if (stream) for (const track of stream.getTracks()) track.stop();
  $("video").srcObject = null;
  $("camera").close();
}

$("shoot").addEventListener("click", async () => {
  if (onPhone || !navigator.mediaDevices) {
    $("snap").click();
    return;
  }
  try {
    const wanted = {video: {facingMode: "environment", width: {ideal: 1280}}};
    $("video").srcObject = await navigator.mediaDevices.getUserMedia(wanted);
    $("camera").showModal();
    await $("video").play();
  } catch {
    state = "noCamera";
    showState();
  }
});
$("shutter").addEventListener("click", () => {
  const video = $("video");
  if (!video.videoWidth) return;
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  endCamera();
  canvas.toBlob(blob => add([new File([blob], "camera.jpg", {type: "image/jpeg"})]), "image/jpeg", 0.92);
});
$("cancel").addEventListener("click", endCamera);
$("camera").addEventListener("cancel", endCamera);

/* The token */

$("key").addEventListener("submit", async event => {
  event.preventDefault();
  token = $("token").value;
  $("token").value = "";
  $("door").close();
  await start();
  for (const photo of photos) if (photo.problem && photo.problem.waits) label(photo);
});

async function start() {
  await Promise.all([listModels(), look()]).catch(() => { state = "away"; showState(); });
}

$("curl").textContent = `curl --data-binary @photo.jpg ${location.origin}/predict`;
speak(language);
start();
setInterval(() => { if (!document.hidden && !$("door").open) look(); }, STATUS_MS);
