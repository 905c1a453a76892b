// The book as it changes. Without this script, pages and forms work as well; they only do not change by themselves.

const entries = document.querySelector("#entries");
const live = document.querySelector("#live");

function showState(text, isLive) {
  live.hidden = false;
  live.textContent = text;
  live.classList.toggle("on", isLive);
}

function read(html) {
  const template = document.createElement("template");
  template.innerHTML = html; // Made by the template that made the page, which escapes what guests write.
  return template.content.firstElementChild;
}

function place(html, isNew) {
  const entry = read(html);
  const old = document.getElementById(entry.id);
  if (old) old.replaceWith(entry);
  else if (isNew && "newest" in entries.dataset) entries.prepend(entry);
  entry.classList.add("fresh");
}

function follow(after) {
  const events = new EventSource(`${entries.dataset.events}?after=${after}`);
  let last = after;
  const on = (name, change) =>
    events.addEventListener(name, (event) => {
      last = event.lastEventId;
      change(event.data);
    });
  on("hello", () => showState("live", true));
  on("signed", (html) => place(html, true));
  on("changed", (html) => place(html, false));
  on("removed", (id) => document.getElementById(`entry-${id}`)?.remove());
  events.addEventListener("error", () => {
    showState("connecting", false);
    // The browser tries again by itself, unless something else than events was the answer.
    if (events.readyState === EventSource.CLOSED) setTimeout(() => follow(last), 3000);
  });
}

if (entries) follow(entries.dataset.after);

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

const photo = document.querySelector("input[name=photo]");

photo?.addEventListener("change", () => {
  document.querySelector("#preview")?.remove();
  const [file] = photo.files;
  if (!file) return;
  const preview = Object.assign(new Image(), { id: "preview", alt: "", src: URL.createObjectURL(file) });
  photo.after(preview);
});
