// The chat over a websocket. Without this script the form is sent as any form is.

const lines = document.querySelector("#lines");
const form = document.querySelector("#say");
const live = document.querySelector("#live");
const address = new URL(lines.dataset.socket, location.href);
address.protocol = address.protocol.replace("http", "ws");
let socket;

function showLine(html) {
  const template = document.createElement("template");
  template.innerHTML = html; // Made by the template that made the page, which escapes what guests write.
  const line = template.content.firstElementChild;
  if (document.getElementById(line.id)) return; // The page came with it.
  lines.querySelector(".empty").before(line);
  lines.scrollTop = lines.scrollHeight;
}

function showState(text, isLive) {
  live.hidden = false;
  live.textContent = text;
  live.classList.toggle("on", isLive);
}

function connect() {
  socket = new WebSocket(address);
  socket.addEventListener("open", () => showState("live", true));
  socket.addEventListener("message", (event) => showLine(event.data));
  socket.addEventListener("close", () => {
    showState("connecting", false);
    setTimeout(connect, 2000);
  });
}

form.addEventListener("submit", (event) => {
  if (socket.readyState !== WebSocket.OPEN) return; // Then it is sent as a form.
  event.preventDefault();
  socket.send(form.elements.text.value);
  form.reset();
});

lines.scrollTop = lines.scrollHeight;
connect();
